"""The one place of this package that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Where things are on this machine."""

    jars_cache: Path
    infra: Path | None = None
    java_home: Path | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "LocalSettings":
        """Read `MILLRACE_JARS`, `MILLRACE_INFRA` and `JAVA_HOME`; the cache is in the user's home by default."""
        home = Path(environment.get("HOME") or Path.home())
        return cls(
            jars_cache=_path(environment.get("MILLRACE_JARS")) or home / ".cache" / "millrace",
            infra=_path(environment.get("MILLRACE_INFRA")),
            java_home=_path(environment.get("JAVA_HOME")),
        )


def load() -> LocalSettings:
    return LocalSettings.of(os.environ)


def inherited_environment() -> dict[str, str]:
    """What a child process gets from us, before its own additions."""
    return dict(os.environ)


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None
