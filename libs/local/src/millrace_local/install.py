"""Resolves the servers' jars with Maven, once per version, into a cache folder.

The cache is named after the pom's hash: a changed version is a new folder, never a mixture of two.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from millrace_local.errors import LocalServerError, MissingToolError
from millrace_local.infra import infra_folder
from millrace_local.java import INSTALL_HINT, find_java
from millrace_local.settings import LocalSettings, load

_TIMEOUT_SECONDS = 900
_ERROR_LINES = 15


def kafka_jars(settings: LocalSettings | None = None) -> Path:
    """The folder of the broker's jars; downloaded if it isn't there yet."""
    return _jars("kafka", settings or load())


def zipkin_jar(settings: LocalSettings | None = None) -> Path:
    """Zipkin's executable jar; downloaded if it isn't there yet."""
    folder = _jars("zipkin", settings or load())
    found = sorted(folder.glob("zipkin-server-*-exec.jar"))
    if not found:
        raise LocalServerError(
            f"No zipkin-server-*-exec.jar in {folder}: remove the folder and try again."
        )
    return found[-1]


def resolve_jars(pom: Path, folder: Path) -> Path:
    """Fill `folder` with the runtime jars of `pom` unless it exists; all of them or none, whatever is killed.

    Two processes may do this at the same time: the first one to finish wins, both get a whole folder.
    """
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingToolError(
            f"No mvn found: Maven fetches the jars of {pom.parent.name}. {INSTALL_HINT}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f"{folder.name}.partial-"
    ) as temporary:
        download = Path(temporary, "jars")
        _copy_dependencies(maven, pom, download)
        try:
            download.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _jars(name: str, settings: LocalSettings) -> Path:
    pom = infra_folder(settings) / name / "pom.xml"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    folder = settings.jars_cache / f"jars-{name}-{digest}"
    if not folder.is_dir():
        find_java(settings)  # Maven's own complaint about a missing Java is not a helpful one
    return resolve_jars(pom, folder)


def _copy_dependencies(maven: str, pom: Path, target: Path) -> None:
    command = [
        maven,
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={target}",
    ]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LocalServerError(
            f"Maven did not fetch the jars of {pom} within {_TIMEOUT_SECONDS} s: check the network and try again."
        ) from error
    if answer.returncode != 0 or not any(target.glob("*.jar")):
        lines = (answer.stdout + answer.stderr).strip().splitlines()[-_ERROR_LINES:]
        raise LocalServerError(
            "Maven could not fetch the jars of {}; check the network (or Maven's settings.xml) and try again:\n{}".format(
                pom, "\n".join(lines)
            )
        )


def main() -> None:
    """Fetch what isn't there yet: `python -m millrace_local.install`."""
    try:
        folders = [kafka_jars(), zipkin_jar().parent]
    except LocalServerError as error:
        sys.exit(str(error))
    sys.stdout.write("".join(f"jars of {folder.name}: {folder}\n" for folder in folders))


if __name__ == "__main__":
    main()
