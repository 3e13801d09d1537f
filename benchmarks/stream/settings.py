"""The one place of this benchmark that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INHERITED = ("PATH", "HOME", "LANG", "JAVA_HOME", "MILLRACE_JARS", "MILLRACE_INFRA", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Settings:
    """`MILLRACE_BENCHMARKS`: the folder in which the peers' environments are kept; default `.millrace/benchmarks`."""

    folder: Path
    inherited: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        folder = environment.get("MILLRACE_BENCHMARKS")
        return cls(
            folder=Path(folder).expanduser() if folder else ROOT / ".millrace" / "benchmarks",
            inherited={name: environment[name] for name in _INHERITED if name in environment},
        )


def load() -> Settings:
    return Settings.of(os.environ)
