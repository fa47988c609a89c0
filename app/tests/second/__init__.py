"""Somebody else's project: it has `slipway_jwt` and nothing else of ours, as its README tells."""
