"""`get card`: what a model version is, how good it is and for whom, and what its answers rest on."""

from pathlib import Path
from urllib.parse import quote

import orjson

from millrace.errors import ClientError, UsageError
from millrace.output import Format, print_json, say
from millrace.printing import printable
from millrace.settings import Settings
from millrace.web import get, get_text

_PAGES = (".html", ".htm")


def show_card(
    settings: Settings,
    pipeline: str | None,
    version: int | None,
    output: Format,
    save: Path | None,
) -> None:
    """Print the card as Markdown, or its figures as JSON; or write it to a file."""
    if pipeline is None:
        raise UsageError("whose card? write `millrace get card PIPELINE [VERSION]`")
    name = quote(pipeline, safe="")
    number = version or _champion(settings, pipeline, name)
    path = f"/v1/models/{name}/versions/{number}/card"
    if save is not None:
        form = "text/html" if save.suffix.lower() in _PAGES else "text/markdown"
        _write(save, get_text(settings, "registry", path, form))
        say(f"The card of version {number} is in {save}.")
    elif output is Format.JSON:
        print_json(orjson.loads(get_text(settings, "registry", path, "application/json")))
    else:
        for line in get_text(settings, "registry", path, "text/markdown").splitlines():
            say(printable(line))


def _champion(settings: Settings, pipeline: str, name: str) -> int:
    champion = get(settings, "registry", f"/v1/pipelines/{name}")["pipeline"]["champion"]
    if champion is None:
        raise ClientError(
            f"{pipeline} has no champion yet; name a version: `millrace get models {pipeline}`"
        )
    return int(champion)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error}") from None
