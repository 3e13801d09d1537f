"""The one place that asks the kernel about a feature's expression."""

from collections.abc import Mapping

from millrace_kernel.expressions import ExpressionError, check, parse
from millrace_kernel.pipeline import FieldKind


def wrong_with(expression: str, fields: Mapping[str, FieldKind] | None) -> tuple[str, str] | None:
    """What is wrong with the expression, and the fix; None when it is right.

    Without fields only the grammar is checked: an unknown name may be one whose line could not be read.
    """
    try:
        parsed = parse(expression)
        if fields is not None:
            check(parsed, fields)
    except ExpressionError as error:
        what = str(error).removesuffix(f"; {error.advice}") if error.advice else str(error)
        return what, error.advice
    return None
