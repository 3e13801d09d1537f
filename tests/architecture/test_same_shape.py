"""Who knows one service knows them all: each has the same files, and nothing beside them."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("features", "ingestion", "monitoring", "registry", "serving", "training")
FILES = (
    "__init__.py",
    "__main__.py",
    "adapters/wire.py",
    "application/handlers.py",
    "application/ports.py",
    "bootstrap.py",
    "domain/__init__.py",
    "entrypoints/http.py",
    "entrypoints/worker.py",
    "settings.py",
)
TOP_LEVEL = {
    "__init__.py",
    "__main__.py",
    "adapters",
    "application",
    "bootstrap.py",
    "domain",
    "entrypoints",
    "py.typed",
    "settings.py",
}


def package_of(service: str) -> Path:
    return ROOT / "services" / service / "src" / f"millrace_{service}"


def test_these_are_all_the_services():
    found = {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")}

    assert found == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_it_has_the_files_that_every_service_has(service: str):
    missing = [name for name in FILES if not (package_of(service) / name).is_file()]

    assert missing == []


@pytest.mark.parametrize("service", SERVICES)
def test_it_has_nothing_beside_them(service: str):
    found = {path.name for path in package_of(service).iterdir() if path.name != "__pycache__"}

    assert found - TOP_LEVEL == set()


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_named_after_its_folder(service: str):
    project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())["project"]

    assert project["name"] == f"millrace-{service}"


@pytest.mark.parametrize("service", SERVICES)
def test_its_tests_stand_beside_it(service: str):
    tests = ROOT / "services" / service / "tests"

    assert any(tests.glob("unit/**/test_*.py"))
