"""What the command says when something is not as it should be: one line that names what to do."""


class ClientError(Exception):
    """It can't be done (exit code 1). The text is all that a person sees: what happened, and what to do."""


class UsageError(ClientError):
    """It was asked for wrongly (exit code 2)."""
