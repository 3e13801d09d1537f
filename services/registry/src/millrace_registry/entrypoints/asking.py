"""What can be asked for over HTTP, and the command that it becomes."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millrace_kernel.ids import ModelVersionNumber, PipelineName, derived_id
from millrace_kernel.time import Instant
from millrace_registry.domain.events import (
    ApprovePromotion,
    Command,
    PausePipeline,
    RejectPromotion,
    Retrain,
    RollBack,
)

Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class _Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: Annotated[Text, Field(description="Who asks")] = ""
    reason: Annotated[Text, Field(description="Why, in words")] = ""


class AskAboutVersion(_Ask):
    """approve: let it become the champion; reject: turn it down; rollback: let it answer again."""

    kind: Literal["approve", "reject", "rollback"]
    version: int = Field(
        default=0, ge=0, lt=2**31, description="0: the newest that waits, or the champion before"
    )


class AskForTraining(_Ask):
    kind: Literal["retrain"]


class AskForPause(_Ask):
    kind: Literal["pause"]
    paused: bool = Field(default=True, description="False lets it go on")


_COMMANDS: Mapping[str, type[ApprovePromotion | RejectPromotion | RollBack]] = {
    "approve": ApprovePromotion,
    "reject": RejectPromotion,
    "rollback": RollBack,
}

Ask = Annotated[AskAboutVersion | AskForTraining | AskForPause, Field(discriminator="kind")]


class Accepted(BaseModel):
    """The command's id: what it leads to names it as its cause."""

    id: str


def command_of(
    asked: Ask, pipeline: PipelineName, now: Instant, idempotency_key: str | None
) -> Command:
    """The command, with an id that is the same when it is asked again with the same key."""
    distinct = (
        ("key", idempotency_key) if idempotency_key else ("at", str(now), asked.model_dump_json())
    )
    made = derived_id("command", pipeline, *distinct)
    match asked:
        case AskForTraining():
            return Retrain(pipeline, asked.actor, asked.reason, made, now)
        case AskForPause():
            return PausePipeline(pipeline, asked.paused, asked.actor, asked.reason, made, now)
        case AskAboutVersion():
            kind = _COMMANDS[asked.kind]
            version = ModelVersionNumber(asked.version)
            return kind(pipeline, version, asked.actor, asked.reason, made, now)
