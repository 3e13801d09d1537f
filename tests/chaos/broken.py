"""The broken variants: a bus that breaks one rule, struck where that hurts. Each must make its run fail."""

import logging
from collections.abc import Sequence

from tests.chaos.blueprint import SERVICES, Store
from tests.chaos.faults import Broken, DiesBetween, Fault, StaleOwner
from tests.chaos.outages import SendsFail
from tests.chaos.run import Plan
from tests.chaos.session import Session

logger = logging.getLogger(__name__)

_PATIENCE = 12.0  # what a broken bus has lost does not come


def _faults(variant: str, seed: int) -> Sequence[tuple[Fault, int]]:
    """The faults of a variant's run, and how often each strikes. A trick lies over those before it."""
    if variant == "commit-before-send":
        return [(Broken(variant, ["features"], kills=2, after=4), 0)]
    if variant == "fence-off":
        return [(Broken(variant, SERVICES), 0), (DiesBetween("features", "serving"), 2)]
    if variant == "sender-goes-on":
        return [(SendsFail(["features"], seed, share=0.2), 0), (Broken(variant, ["features"]), 0)]
    return [(StaleOwner(), 1), (Broken(variant, ["monitoring"]), 0)]


VARIANTS = ("commit-before-send", "fence-off", "sender-goes-on", "fence-cached")


async def run(session: Session, variant: str, store: Store) -> bool:
    """Whether nothing was lost and nothing doubled: something must have been."""
    undisturbed = await session.undisturbed(store)
    name = f"broken-{variant}"
    plan = Plan(name, store, {name: _faults(variant, session.dose.seed)}, patience=_PATIENCE)
    outcome = await session.play(plan, undisturbed)
    verdict = outcome.verdict
    said = f"{verdict.lost} lost, {verdict.doubled} doubled"
    logger.info(
        "broken variant %s: %s (%s)",
        variant,
        "fails" if verdict.lost or verdict.doubled else "PASSED",
        said,
    )
    return not (verdict.lost or verdict.doubled)


async def check_the_check(session: Session, variants: Sequence[str] = VARIANTS) -> bool:
    """Whether each variant fails, and for what it breaks: something lost or something doubled."""
    unnoticed = [name for name in variants if await run(session, name, Store.SQLITE)]
    for name in unnoticed:
        logger.error("the broken variant %s was not noticed: this suite proves nothing", name)
    return not unnoticed
