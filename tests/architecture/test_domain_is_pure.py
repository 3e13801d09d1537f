"""The domain may import the standard library, numpy, the kernel and itself; nothing else."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("features", "ingestion", "monitoring", "registry", "serving", "training")
IMPURE_STDLIB = {"asyncio", "logging", "os", "pathlib", "random", "socket", "subprocess", "time"}
ALLOWED = (sys.stdlib_module_names - IMPURE_STDLIB) | {"numpy", "millrace_kernel"}


def imported_modules(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def own_imports(source: str, package: str) -> Iterator[str]:
    """What a module imports of its own service, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            yield str(node.module)


def domain_modules(service: str) -> list[Path]:
    package = ROOT / "services" / service / "src" / f"millrace_{service}"
    return sorted((package / "domain").rglob("*.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_domain(service: str):
    assert [path for path in domain_modules(service) if path.name != "__init__.py"]


@pytest.mark.parametrize("service", SERVICES)
def test_domain_imports_only_pure_modules(service: str):
    impure = {
        path.name: sorted(names)
        for path in domain_modules(service)
        if (names := imported_modules(path.read_text()) - ALLOWED - {f"millrace_{service}"})
    }

    assert impure == {}


@pytest.mark.parametrize("service", SERVICES)
def test_domain_imports_nothing_of_its_service_but_the_domain(service: str):
    package = f"millrace_{service}"
    outward = {
        path.name: names
        for path in domain_modules(service)
        if (
            names := [
                name
                for name in own_imports(path.read_text(), package)
                if not name.startswith(f"{package}.domain")
            ]
        )
    }

    assert outward == {}
