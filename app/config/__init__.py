"""The project: settings, routes and what every request passes through."""
