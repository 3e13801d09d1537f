"""What a pipeline file asks of its models beside their kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace_artifacts.texts import TextColumn
from millrace_kernel.pipeline import Pipeline, Scalar

SKLEARN = ("sklearn.",)
ISOTONIC, PLATT = "isotonic", "platt"


@dataclass(frozen=True, slots=True)
class Commands:
    """Programs that pipeline files may name, and the line that starts each. A fit by one may take `seconds`; it works in `folder`,
    which is not there before and after (None: somewhere)."""

    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 300.0
    folder: Path | None = None


NO_COMMANDS = Commands()


@dataclass(frozen=True, slots=True)
class Options:
    """`balance`: rare classes weigh as much as frequent ones. `calibration`: ISOTONIC, PLATT or None. `quantiles` (growing, 0.5
    among them) and `interval` (the share of truths that it holds) are a regression's. `parameters`: of candidates that are the
    user's own. `modules`: what an import path may begin with. `commands`: what may be run. `texts`: those of the category columns that are
    free text and hashed; `encoded_columns` are read by the encoder `encoded_by`, whose bytes `encoder` are.
    """

    balance: bool = False
    calibration: str | None = None
    quantiles: tuple[float, ...] = ()
    interval: float | None = None
    parameters: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    modules: tuple[str, ...] = SKLEARN
    commands: Commands = NO_COMMANDS
    texts: tuple[TextColumn, ...] = ()
    encoded_columns: tuple[str, ...] = ()
    encoded_by: str = ""
    encoder: bytes = b""

    @property
    def text_names(self) -> frozenset[str]:
        return frozenset(text.name for text in self.texts)

    def texts_among(self, columns: tuple[str, ...]) -> tuple[TextColumn, ...]:
        """Those of the texts that models are given."""
        return tuple(text for text in self.texts if text.name in columns)


DEFAULT_OPTIONS = Options()


def options_of(pipeline: Pipeline, modules: tuple[str, ...] = SKLEARN) -> Options:
    """What the model section of a pipeline file says."""
    model = pipeline.model
    reading = model.text
    return Options(
        balance=model.balance,
        calibration=model.calibration,
        quantiles=model.quantiles,
        interval=model.interval,
        parameters={name: dict(given) for name, given in model.parameters},
        modules=modules,
        texts=()
        if reading.encoder
        else tuple(
            TextColumn(name, reading.words, reading.characters, reading.buckets)
            for name in pipeline.texts
        ),
        encoded_columns=pipeline.texts if reading.encoder else (),
        encoded_by=reading.encoder or "" if pipeline.texts else "",
    )
