"""Has a candidate's model card made, in a process of its own, and keeps it beside the artifact.

The card is made after the artifact, from its bytes, so nothing in the artifact depends on it; and whatever goes wrong
with it, a candidate without a card is still a candidate: the reason becomes one of its notes.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

import msgspec

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_bus.session import undisturbed
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import rfc3339
from millrace_training.adapters.cards.job import About, Card, CardJob
from millrace_training.adapters.children import ChildFailedError, Children, Limits
from millrace_training.adapters.fitting.job import FitJob, FitResult
from millrace_training.domain.costs import NOTHING, Cost
from millrace_training.domain.events import Candidate, Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Carded:
    """A card, or why there is none, and what making it has cost. All empty: none was wanted."""

    content: bytes = b""
    problem: str = ""
    cost: Cost = NOTHING


class CardMaker:
    def __init__(
        self, children: Children[CardJob, Card], store: ObjectStore, limits: Limits
    ) -> None:
        self._children = children
        self._store = store
        self._limits = limits

    async def made(self, job: CardJob) -> Carded:
        """An update has none: it would cost several times what the update does, and be the champion's but for some trees."""
        if job.about.trigger == Trigger.UPDATE:
            return Carded()
        try:
            done = await self._children.run(job, self._limits)
        except ChildFailedError as error:
            logger.warning("no model card", extra={"run": job.about.run_id, "reason": str(error)})
            return Carded(problem=f"no model card: {error}", cost=error.cost)
        return Carded(msgspec.json.encode(done.result, order="deterministic"), "", done.cost)

    async def kept(self, candidate: Candidate, carded: Carded, pipeline: str) -> Candidate:
        """The candidate with its card. Raises TransientError while the store is away."""
        cost = carded.cost if candidate.cost is None else candidate.cost + carded.cost
        candidate = replace(candidate, cost=cost, cpu_seconds=cost.cpu_seconds)
        if not carded.content:
            notes = (carded.problem,) if carded.problem else ()
            return replace(candidate, notes=candidate.notes + notes)
        key = digest_key(f"cards/{pipeline}", carded.content, ".json")
        stored = await undisturbed(asyncio.to_thread(self._store.put, key, carded.content))
        return replace(candidate, card_uri=stored.uri, card_sha256=stored.sha256)


def card_job(
    run: Run,
    pipeline: Pipeline,
    fit: FitJob,
    result: FitResult,
    *,
    dataset: tuple[str, str],
    champion_version: int,
    artifact_sha256: str,
) -> CardJob:
    """`dataset` is its URI and its digest."""
    about = About(
        owner=pipeline.owner,
        description=pipeline.description,
        label=pipeline.label.field,
        run_id=run.run_id,
        run_number=run.number,
        trigger=run.trigger.value,
        as_of=rfc3339(run.as_of),
        dataset_uri=dataset[0],
        dataset_sha256=dataset[1],
        artifact_sha256=artifact_sha256,
        champion_version=champion_version,
    )
    return CardJob(replace(fit, champion=None, finished=(), earlier=()), result, about)
