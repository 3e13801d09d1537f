"""The jars: all or none, once, and a missing tool says what to install."""

from pathlib import Path

import pytest

from millrace_local.errors import LocalServerError, MissingToolError
from millrace_local.infra import infra_folder
from millrace_local.install import kafka_jars, resolve_jars
from millrace_local.java import find_java, major_version
from millrace_local.settings import LocalSettings


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def only_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)


FAKE_MAVEN = 'for word; do case $word in -DoutputDirectory=*) mkdir -p "${word#*=}"; touch "${word#*=}/a.jar";; esac; done'


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
    ],
)
def test_reads_the_version_that_java_prints(text: str, version: int):
    assert major_version(text) == version


def test_a_missing_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingToolError, match=r"No java found.*apt-get install openjdk-17"):
        find_java(LocalSettings(jars_cache=tmp_path))


def test_an_old_java_is_refused(tmp_path: Path):
    program(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\"' >&2")

    with pytest.raises(MissingToolError, match=r"is Java 11: Kafka needs Java 17 or newer"):
        find_java(LocalSettings(jars_cache=tmp_path, java_home=tmp_path))


def test_a_missing_maven_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.2\"' >&2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(MissingToolError, match=r"No mvn found.*apt-get install .* maven"):
        kafka_jars(LocalSettings(jars_cache=tmp_path / "cache"))


def test_jars_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    only_path(monkeypatch, program(tmp_path / "bin", "mvn", FAKE_MAVEN).parent)
    pom = tmp_path / "kafka" / "pom.xml"

    first = resolve_jars(pom, tmp_path / "jars")
    program(tmp_path / "bin", "mvn", "exit 1")
    second = resolve_jars(pom, tmp_path / "jars")

    assert first == second
    assert [jar.name for jar in first.iterdir()] == ["a.jar"]


def test_a_failed_download_leaves_nothing_and_shows_mavens_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    only_path(
        monkeypatch, program(tmp_path / "bin", "mvn", "echo 'no such artifact'; exit 1").parent
    )
    cache = tmp_path / "cache"

    with pytest.raises(LocalServerError, match="no such artifact"):
        resolve_jars(tmp_path / "kafka" / "pom.xml", cache / "jars")

    assert list(cache.iterdir()) == []


def test_another_process_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    winner = tmp_path / "jars"
    faster = f"mkdir -p {winner}; touch {winner}/b.jar; {FAKE_MAVEN}"
    only_path(monkeypatch, program(tmp_path / "bin", "mvn", faster).parent)

    assert [jar.name for jar in resolve_jars(tmp_path / "kafka" / "pom.xml", winner).iterdir()] == [
        "b.jar"
    ]


def test_a_changed_pom_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.2\"' >&2")
    only_path(monkeypatch, program(tmp_path / "bin", "mvn", FAKE_MAVEN).parent)
    pom = tmp_path / "infra" / "kafka" / "pom.xml"
    pom.parent.mkdir(parents=True)
    settings = LocalSettings(jars_cache=tmp_path / "cache", infra=tmp_path / "infra")

    pom.write_text("4.3.1")
    one = kafka_jars(settings)
    pom.write_text("4.3.2")
    other = kafka_jars(settings)

    assert one != other
    assert one.parent == other.parent == tmp_path / "cache"


def test_settings_come_from_the_environment():
    settings = LocalSettings.of(
        {"HOME": "/home/me", "MILLRACE_JARS": "/jars", "JAVA_HOME": "/java"}
    )

    assert settings == LocalSettings(jars_cache=Path("/jars"), java_home=Path("/java"))
    assert LocalSettings.of({"HOME": "/home/me"}).jars_cache == Path("/home/me/.cache/millrace")


def test_a_wrong_infra_folder_is_named(tmp_path: Path):
    with pytest.raises(LocalServerError, match="correct MILLRACE_INFRA"):
        infra_folder(LocalSettings(jars_cache=tmp_path, infra=tmp_path))
