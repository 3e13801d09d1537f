"""Streams that are made here, with a seed: what is known of each (where it drifts, or that it never does) is known for sure, and
nobody needs the shared data for them.

`sudden`: SEA concepts (Street and Kim, A streaming ensemble algorithm, 2001), the threshold moves three times. `gradual`: a hyperplane that
turns a little with every event (Hulten, Spencer and Domingos, Mining time-changing data streams, 2001). `recurring`: two concepts that
take turns (SINE1 of Gama et al., Learning with drift detection, 2004). `still`: a hyperplane that never turns. `noise`: labels that have
nothing to do with the columns, so that there is nothing to learn, ever.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import Pipeline

EVENTS = 15_000
SEED = 20_260_101
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
_THRESHOLDS = (8.0, 9.0, 7.0, 9.5)
_TAKE_TURNS = 2_500  # events
_FLIPPED = 0.1  # of the labels: what no model can know
_TURN = 2.0 * math.pi / EVENTS  # the hyperplane's weights come round once in the whole stream
_FILE = """
metadata: {{name: {name}}}
spec:
  event: {{id: id, time: time}}
  fields: {fields}
  label: {{field: label, kind: binary, delay: 1h}}
  model:
    train_on: {{last: {last}, first: {last}}}
    holdout: {{last: {holdout}}}
"""

Drawn = tuple[list[float], bool]  # the columns of an event, and its label before some are flipped
Draw = Callable[[np.random.Generator, int], Drawn]


@dataclass(frozen=True, slots=True)
class GeneratedSet:
    """As `sets.LabelledSet`, without a file."""

    name: str
    columns: int
    draw: Draw
    metric: str | None = None

    def pipeline(self) -> Pipeline:
        """As for every set here: the first model waits for a fifth of the rows and each run learns from as many; a fiftieth is
        held out."""
        fields = "{" + ", ".join(f"x{place}: float" for place in range(self.columns)) + "}"
        text = _FILE.format(name=self.name, fields=fields, last=EVENTS // 5, holdout=EVENTS // 50)
        return read_pipeline(text, version=1)

    def is_there(self, _folder: Path | None) -> bool:
        return True

    def rows(self, _folder: Path | None, limit: int | None = None) -> list[Mapping[str, Any]]:
        rows = list(self._rows())
        return rows if limit is None else rows[:limit]

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        generator = np.random.default_rng([SEED, *self.name.encode()])
        for number in range(EVENTS):
            columns, label = self.draw(generator, number)
            flipped = bool(generator.random() < _FLIPPED)
            yield {
                "id": number,
                "time": (_BEGIN + timedelta(minutes=10 * number)).isoformat(),
                **{f"x{place}": value for place, value in enumerate(columns)},
                "label": int(label != flipped),
            }


def sudden(generator: np.random.Generator, number: int) -> Drawn:
    columns = (10.0 * generator.random(3)).tolist()
    threshold = _THRESHOLDS[number * len(_THRESHOLDS) // EVENTS]
    return columns, columns[0] + columns[1] <= threshold


def gradual(generator: np.random.Generator, number: int) -> Drawn:
    return _beside_a_plane(generator, number * _TURN)


def still(generator: np.random.Generator, _number: int) -> Drawn:
    return _beside_a_plane(generator, 0.0)


def recurring(generator: np.random.Generator, number: int) -> Drawn:
    columns = generator.random(2).tolist()
    return columns, (columns[1] < math.sin(columns[0])) == (number // _TAKE_TURNS % 2 == 0)


def noise(generator: np.random.Generator, _number: int) -> Drawn:
    return generator.random(4).tolist(), bool(generator.random() < 0.5)


def _beside_a_plane(generator: np.random.Generator, angle: float) -> Drawn:
    """Eight columns around 0, and on which side of a plane through 0 they lie: its weights are a wave over the columns, `angle` along."""
    columns = (generator.random(8) - 0.5).tolist()
    weighted = (value * math.cos(place + angle) for place, value in enumerate(columns))
    return columns, sum(weighted) >= 0.0


GENERATED = (
    GeneratedSet("sudden", 3, sudden),
    GeneratedSet("gradual", 8, gradual),
    GeneratedSet("recurring", 2, recurring),
    GeneratedSet("still", 8, still),
    GeneratedSet("noise", 4, noise),
)
