"""System checks of the token settings."""
