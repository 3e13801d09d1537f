"""Trials: a version is compared with the champion on the same stream, and may answer a share of the entities."""

from dataclasses import dataclass
from hashlib import blake2b

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.time import Instant
from millrace_serving.domain.champions import Champion, ModelPromoted, ModelRolledBack

PARTS = 10_000  # in which the entities are shared out


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison. `challenger.epoch` is the promotion in force: the trial holds while its champion answers.

    `share` counts in ten-thousandths of the entities; 0: a shadow, which answers nobody.
    """

    number: int
    step: int
    challenger: Champion
    champion: ModelVersionNumber
    share: int
    since: Instant  # vectors recorded since then are scored
    started: Instant  # and those before this time by both versions

    @property
    def pipeline(self) -> PipelineName:
        return self.challenger.pipeline

    def takes(self, entity: str) -> bool:
        """Whether the challenger answers this entity: for a larger share still, because its part stays the same."""
        return part_of(self.pipeline, self.challenger.version, entity) < self.share


@dataclass(frozen=True, slots=True)
class ChallengerStarted:
    """A trial begins, or goes on with a larger share."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class ChallengerEnded:
    """A version was rejected or retired, or waits for a person: if it is the challenger, its trial is over."""

    pipeline: PipelineName
    version: ModelVersionNumber


TrialEvent = ChallengerStarted | ChallengerEnded | ModelPromoted | ModelRolledBack


def part_of(pipeline: PipelineName, version: ModelVersionNumber, entity: str) -> int:
    """Which of the ten thousand parts an entity is in: the same in every process and at every time, and for each version
    another one, so that nobody is the first to meet every challenger."""
    digest = blake2b(f"{pipeline}\0{version}\0{entity}".encode(errors="replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % PARTS


def is_over(trial: Trial, event: TrialEvent) -> bool:
    """Whether an event of the same pipeline ends a trial."""
    match event:
        case ChallengerStarted(other):
            return other.number > trial.number
        case ChallengerEnded(version=version):
            return version == trial.challenger.version
        case ModelPromoted(champion) | ModelRolledBack(champion):
            return champion.epoch > trial.challenger.epoch
