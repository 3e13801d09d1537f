"""Who is the champion: the newest epoch seen, per pipeline."""

from dataclasses import dataclass

from millrace_kernel.ids import ModelVersionNumber, PipelineName

REMEMBERED = 8  # how far back a starting instance looks for a champion that can be loaded


@dataclass(frozen=True, slots=True)
class Champion:
    """A version that was made the one that answers, where it is kept, and the pipeline file that it was trained by."""

    pipeline: PipelineName
    pipeline_version: int
    version: ModelVersionNumber
    epoch: int
    artifact_uri: str
    artifact_sha256: str
    run_id: str
    artifact_signature: bytes  # training's, over pipeline, version of the file, run and digest
    signing_key_id: str

    def is_same_model_as(self, other: "Champion") -> bool:
        """A version answers again after a rollback: another epoch, the same bytes."""
        return (self.version, self.artifact_sha256) == (other.version, other.artifact_sha256)


@dataclass(frozen=True, slots=True)
class ModelPromoted:
    """A version becomes the champion."""

    champion: Champion


@dataclass(frozen=True, slots=True)
class ModelRolledBack:
    """An earlier version becomes the champion again, under a new epoch, in place of the one taken back."""

    champion: Champion
    taken_back: ModelVersionNumber


@dataclass(frozen=True, slots=True)
class Succession:
    """The champions of one pipeline that may answer, newest first."""

    champions: tuple[Champion, ...] = ()

    @property
    def newest(self) -> Champion:
        return self.champions[0]

    @property
    def epoch(self) -> int:
        """The newest epoch seen; 0 before the first."""
        return self.champions[0].epoch if self.champions else 0


NO_SUCCESSION = Succession()


def evolve(succession: Succession, event: ModelPromoted | ModelRolledBack) -> Succession:
    """The succession after the event. One whose epoch is not newer comes from a zombie or a second delivery: ignored.

    A version stands in it once, and one that was taken back doesn't: nobody should go back to it.
    """
    champion = event.champion
    if champion.epoch <= succession.epoch:
        return succession
    gone = {champion.version}
    if isinstance(event, ModelRolledBack):
        gone.add(event.taken_back)
    others = [other for other in succession.champions if other.version not in gone]
    return Succession((champion, *others)[:REMEMBERED])
