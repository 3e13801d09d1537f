"""The language of a feature's `expr`: `temp * (1 - hum)`, `temp - lag(temp, 1)`, `if(carrier == "UA", 1, 0)`.

Numbers, field names, + - * / % ** with Python's precedence, comparisons (1 or 0), `and` `or` `not`, texts in quotes to
compare with, and lag, log, abs, min, max, coalesce, hour, weekday (UTC, Monday is 0), if. `parse` reads, `check` holds it against
the fields, `compile_expression` makes it a fast function. A field name that is no plain word stands in `backticks`.
"""

from millrace_kernel.expressions.checking import check
from millrace_kernel.expressions.evaluate import Evaluate, Lagged, Values, compile_expression
from millrace_kernel.expressions.nodes import EVENT_TIME, Expression, ExpressionError
from millrace_kernel.expressions.parser import parse
from millrace_kernel.expressions.writing import write

__all__ = [
    "EVENT_TIME",
    "Evaluate",
    "Expression",
    "ExpressionError",
    "Lagged",
    "Values",
    "check",
    "compile_expression",
    "parse",
    "write",
]
