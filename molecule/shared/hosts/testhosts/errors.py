"""The one error that is shown to people as a message, without a traceback."""


class HostsError(Exception):
    """Something a person can act on; the text says what and how."""
