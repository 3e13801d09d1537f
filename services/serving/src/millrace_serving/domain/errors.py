"""What is wrong with a question."""


class RequestRefusedError(ValueError):
    """The request isn't one: the text says what is wrong with it and what to send."""
