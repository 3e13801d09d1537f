"""Each package's pyproject.toml leads to whatever it imports: a service's image has nothing else in it."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    path.parent.name: path.parent
    for pattern in ("libs/*/pyproject.toml", "services/*/pyproject.toml")
    for path in sorted(ROOT.glob(pattern))
}
PROJECTS = {
    name: tomllib.loads((path / "pyproject.toml").read_text()) for name, path in FOLDERS.items()
}
DISTRIBUTIONS = packages_distributions()
# Packages of ours that are not called as their distributions are.
OURS = {"millrace": "millrace-client", "open_inference_proto": "millrace-proto"}
# What is part of another distribution's promise, and where it comes with.
COMES_WITH = {
    "pydantic": "pydantic-settings",
    "starlette": "fastapi",
    "pydantic-core": "pydantic",
    "typing-extensions": "pydantic",
}


def imports(source: str) -> Iterator[str]:
    """The modules a source file imports, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def installed_with(name: str, extras: set[str]) -> set[str]:
    """Everything that is named by the package, by these extras of it, and by our own packages among those."""
    table = PROJECTS[name]["project"]
    optional = table.get("optional-dependencies", {})
    texts = [
        *table.get("dependencies", []),
        *(text for extra in extras for text in optional[extra]),
    ]
    found = {canonicalize_name(table["name"])}
    for requirement in map(Requirement, texts):
        distribution = canonicalize_name(requirement.name)
        found.add(distribution)
        if distribution.startswith("millrace-"):
            found |= installed_with(distribution.removeprefix("millrace-"), requirement.extras)
    return found


def distributions_of(module: str) -> set[str]:
    """The names of the distributions that a module may come from; empty for the standard library."""
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return set()
    if top in OURS or top.startswith("millrace_"):
        return {canonicalize_name(OURS.get(top, top))}
    if module.startswith("opentelemetry."):
        return {f"opentelemetry-{part}" for part in ("api", "sdk")} | {
            name for name in DISTRIBUTIONS["opentelemetry"] if "exporter" in name
        }
    if module.startswith("google.protobuf"):
        return {"protobuf"}
    return {canonicalize_name(name) for name in DISTRIBUTIONS.get(top, [top])}


@pytest.mark.parametrize("name", PROJECTS)
def test_what_it_imports_is_installed_with_it(name: str):
    every_extra = set(PROJECTS[name]["project"].get("optional-dependencies", {}))
    installed = installed_with(name, every_extra)
    installed |= {module for module, carrier in COMES_WITH.items() if carrier in installed}

    missing = {
        module
        for path in sorted((FOLDERS[name] / "src").rglob("*.py"))
        for module in imports(path.read_text())
        if (names := distributions_of(module)) and not names & installed
    }

    assert sorted(missing) == []
