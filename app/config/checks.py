"""System checks of the project's settings."""
