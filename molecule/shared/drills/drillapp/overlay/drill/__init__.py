"""What the drills need of an application and ours does not have: laid over a copy of it."""
