"""Why a request gets no answer."""

from millrace_kernel.errors import MillraceError


class UnknownModelError(MillraceError):
    """There is no such pipeline, or the version asked for isn't loaded."""


class NoAnswerError(MillraceError):
    """The pipeline is known, but nothing can answer for it yet."""
