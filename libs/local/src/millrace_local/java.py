"""Finds a Java that can run the servers."""

import re
import shutil
import subprocess
from pathlib import Path

from millrace_local.errors import MissingToolError
from millrace_local.settings import LocalSettings, load

OLDEST_JAVA = 17
INSTALL_HINT = "On Debian: apt-get install openjdk-17-jdk-headless maven"


def find_java(settings: LocalSettings | None = None) -> Path:
    """The `java` of `JAVA_HOME`, else of the `PATH`; refused when older than what Kafka needs."""
    java_home = (settings or load()).java_home
    name = str(java_home / "bin" / "java") if java_home else "java"
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(
            f"No {name} found: Kafka needs Java {OLDEST_JAVA} or newer. {INSTALL_HINT}"
        )
    version = major_version(_version_text(found))
    if version < OLDEST_JAVA:
        raise MissingToolError(
            f"{found} is Java {version}: Kafka needs Java {OLDEST_JAVA} or newer. {INSTALL_HINT}"
        )
    return Path(found)


def major_version(version_text: str) -> int:
    """17 of `openjdk version "17.0.15"`, 8 of `java version "1.8.0_402"`."""
    match = re.search(r'version "(?:1\.)?(\d+)', version_text)
    if match is None:
        raise MissingToolError(f"Can't read Java's version in {version_text!r}. {INSTALL_HINT}")
    return int(match.group(1))


def _version_text(java: str) -> str:
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    return answer.stderr + answer.stdout
