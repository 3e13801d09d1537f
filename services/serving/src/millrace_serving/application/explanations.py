"""Explanations, for requests that ask for one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from typing_extensions import override

from millrace_kernel.errors import PermanentError
from millrace_serving.application.deployments import Deployment
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.columns import Rows, aligned
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.explanation import Explanation

MOST_ROWS = 100  # of one request: a forest takes some milliseconds for each
EXPLAIN = "explain"  # the request parameter


class Explainer(Protocol):
    """Knows of each model why it answers as it does."""

    async def explain(self, champion: Champion, rows: Rows) -> Explanation:
        """Explain rows under the model's columns.

        Raises PermanentError for a model that can't be explained, TransientError when too many explanations are waited
        for, or the one asked for was cut off.
        """


class NoExplainer(Explainer):
    """Where explanations are switched off."""

    @override
    async def explain(self, champion: Champion, rows: Rows) -> Explanation:
        raise RequestRefusedError(
            f"this instance of serving explains nothing, so not {champion.pipeline} either: set SERVING_EXPLAINERS, "
            f"or ask without {EXPLAIN}"
        )


@dataclass(frozen=True, slots=True)
class ToExplain:
    """Rows that a model has answered, as it was asked."""

    deployment: Deployment
    rows: Rows


def to_explain_of(
    parameters: Mapping[str, Any], deployment: Deployment | None, rows: Rows
) -> ToExplain | None:
    """What a request wants to have explained. Raises RequestRefusedError for what can't be."""
    wanted = parameters.get(EXPLAIN, False)
    if not isinstance(wanted, bool):
        raise RequestRefusedError(
            f"the parameter {EXPLAIN} must be true or false, not {str(wanted)[:40]!r}"
        )
    if not wanted:
        return None
    if deployment is None:
        raise RequestRefusedError(
            "there is no champion yet, and its fallback has nothing to explain; ask without explain"
        )
    if len(rows) > MOST_ROWS:
        raise RequestRefusedError(
            f"explanations are for at most {MOST_ROWS} rows at once, not {len(rows)}; ask in several requests"
        )
    return ToExplain(deployment, rows)


async def explanation_of(explainer: Explainer, asked: ToExplain) -> dict[str, Any]:
    """What the response says about why. Raises RequestRefusedError, and TransientError as `Explainer.explain` does."""
    deployment, signature = asked.deployment, asked.deployment.model.signature
    rows = aligned(asked.rows, signature.columns)
    try:
        explanation = await explainer.explain(deployment.champion, rows)
    except PermanentError as error:
        raise RequestRefusedError(str(error)) from error
    return explanation.as_json(signature.columns, signature.classes)
