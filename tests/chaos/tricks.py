"""How tricks travel to the process they are played on: a JSON text in one variable, and a folder that outlives its deaths."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.blueprint import Trick

TRICKS_VARIABLE = "CHAOS_TRICKS"


def written(tricks: Sequence[Trick], folder: Path) -> str:
    """`folder` keeps what a process must remember when it comes back: how often it has died."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"name": trick.name, "options": dict(trick.options)} for trick in tricks]
    return json.dumps({"folder": str(folder), "tricks": listed})


def read(text: str) -> tuple[Path, list[Trick]]:
    said = json.loads(text)
    return Path(said["folder"]), [
        Trick(trick["name"], trick["options"]) for trick in said["tricks"]
    ]


class Deaths:
    """Counts deaths in a file, so that a process that comes back knows how many there have been."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.deaths"

    @property
    def count(self) -> int:
        return len(self._file.read_bytes()) if self._file.exists() else 0

    def add(self) -> None:
        with self._file.open("ab") as file:
            file.write(b"x")
