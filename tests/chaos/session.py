"""Several runs of one invocation: the undisturbed run of each store first, then what was asked for."""

import logging
import shutil
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import count
from pathlib import Path

from tests.chaos.blueprint import Store
from tests.chaos.disk import NoDiskError
from tests.chaos.history import History
from tests.chaos.report import Row
from tests.chaos.run import Outcome, Plan, Run
from tests.chaos.targets import DISK_FULL, Dose, plan

logger = logging.getLogger(__name__)

RUN: ContextVar[str] = ContextVar("RUN", default="")
"""Which run says what is logged: two may go side by side."""
_numbers = count(1)


def say_which_run(record: logging.LogRecord) -> bool:
    """A filter for a handler: `run` is for its format."""
    record.run = RUN.get()
    return True


class Session:
    """`rows` collects what came out, `skipped` what could not be done here."""

    def __init__(self, home: Path, events: int, dose: Dose, *, keep: bool = False) -> None:
        self.dose = dose
        self.events = events
        self.history = History(events, dose.seed)
        self.rows: list[Row] = []
        self.skipped: list[str] = []
        self._home = home
        self._keep = keep  # logs and states of good runs, too
        self._undisturbed: dict[Store, Outcome] = {}

    def shorter(self, events: int) -> "Session":
        """Another one with fewer events, for what needs no more."""
        return Session(self._home / str(events), events, self.dose, keep=self._keep)

    async def run(self, store: Store, targets: Sequence[str], dose: Dose | None = None) -> None:
        """One run in which all these targets are struck; a row for each of them."""
        undisturbed = await self.undisturbed(store)
        name = "+".join(targets)
        try:
            outcome = await self.play(plan(name, store, targets, dose or self.dose), undisturbed)
        except NoDiskError as error:
            logger.warning("SKIPPED %s on %s: %s", DISK_FULL, store, error)
            self.skipped.append(f"{DISK_FULL} on {store}: {error}")
            if others := [target for target in targets if target != DISK_FULL]:
                await self.run(store, others, dose)
            return
        for target in targets:
            self.rows.append(
                Row(target, store, self.events, self.dose.seed, outcome, undisturbed.seconds)
            )

    async def undisturbed(self, store: Store) -> Outcome:
        """The run that nothing happens to: what vectors must be, and how fast it can go."""
        known = self._undisturbed.get(store)
        if known is None:
            known = await self.play(Plan("undisturbed", store, {}), None)
            ended = [f"{name} ended with {codes}" for name, codes in known.exits.items()]
            if wrong := [*known.verdict.problems, *ended]:
                raise RuntimeError(
                    f"the undisturbed run on {store} is not sound: {'; '.join(wrong)}"
                )
            self._undisturbed[store] = known
            logger.info("  processor seconds: %s", dict(known.processor))
        return known

    async def play(self, played: Plan, undisturbed: Outcome | None) -> Outcome:
        home = self._home / f"{played.store}-{played.name[:60]}"
        home.mkdir(mode=0o755, parents=True)
        RUN.set(f"#{next(_numbers)} ")
        logger.info("%s on %s, %d events", played.name, played.store, self.events)
        outcome = await Run(played, self.history, home)(undisturbed and undisturbed.vectors)
        logger.info(
            "  %.0f events/s, %d promotions, started again: %s",
            self.events / outcome.seconds,
            outcome.verdict.promotions,
            {name: count for name, count in outcome.deaths.items() if count} or "nothing",
        )
        for problem in outcome.verdict.problems:
            logger.warning("  PROBLEM %s", problem)
        if outcome.verdict.good and not self._keep:
            shutil.rmtree(home, ignore_errors=True)
        return outcome

    def summed_up(self, *, goals: bool) -> bool:
        """Say what was skipped and, if `goals`, which goals of time were missed; whether nothing failed."""
        for row in self.rows if goals else ():
            for goal in row.missed if row.good else ():
                logger.warning("missed goal: %s on %s: %s", row.target, row.store, goal)
        for skipped in self.skipped:
            logger.warning("skipped, and not passed: %s", skipped)
        return all(row.good for row in self.rows)
