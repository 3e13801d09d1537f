"""What can go wrong when a server is started on this machine; every message says what to do about it."""


class LocalServerError(Exception):
    """A server can't be installed or started. The message is one that a person can act on."""


class MissingToolError(LocalServerError):
    """A program that must be on this machine isn't there, or is too old."""
