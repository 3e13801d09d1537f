"""Finds the repository's `infra` folder: the poms and the configuration files of the servers."""

from pathlib import Path

from millrace_local.errors import LocalServerError
from millrace_local.settings import LocalSettings, load


def infra_folder(settings: LocalSettings | None = None) -> Path:
    """The folder that `MILLRACE_INFRA` names, else the one of the checkout that this file belongs to."""
    configured = (settings or load()).infra
    candidates = [configured] if configured else [p / "infra" for p in Path(__file__).parents]
    for candidate in candidates:
        if (candidate / "kafka" / "pom.xml").is_file():
            return candidate
    raise LocalServerError(
        f"No infra/kafka/pom.xml at {configured}: correct MILLRACE_INFRA."
        if configured
        else "Not inside a Millrace checkout: set MILLRACE_INFRA to the repository's infra folder."
    )
