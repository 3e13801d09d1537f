"""What a fit runs in, as far as it can change a model's bytes: interpreter, machine, libraries, and the fitting code itself."""

import hashlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

import millrace_artifacts
import millrace_kernel
from millrace_training.adapters import fitting

_LIBRARIES = (
    "msgspec",
    "numpy",
    "onnx",
    "onnxruntime",
    "optuna",
    "pyarrow",
    "river",
    "scikit-learn",
    "scipy",
    "skl2onnx",
    "skops",
    "threadpoolctl",
    "xgboost-cpu",
)
_CODE = (millrace_kernel, millrace_artifacts, fitting)


@dataclass(frozen=True, slots=True)
class Environment:
    """`locked` is the SHA-256 of every installed distribution's name and version, `code` that of the fitting code's sources
    (this package, `millrace_artifacts` and `millrace_kernel`): equal whatever the folder they stand in. `commands`: of the
    user's own programs that a model was made by."""

    python: str
    platform: str
    machine: str
    arithmetic: str  # the processor families that the BLAS libraries chose their kernels for
    package: str  # the version of millrace-training; empty where it runs from its sources
    code: str
    locked: str
    libraries: dict[str, str]
    commands: dict[str, str] = field(default_factory=dict)


@cache
def environment() -> Environment:
    """Of this process. Found once: what is loaded is what counts, whatever is installed later."""
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {' '.join(platform.libc_ver())}".strip(),
        machine=platform.machine(),
        arithmetic=_arithmetic(),
        package=_version("millrace-training"),
        code=_code(),
        locked=hashlib.sha256("\n".join(_installed()).encode()).hexdigest(),
        libraries={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def _installed() -> list[str]:
    """Names and versions by the folders that installers write them to: to read what is in these takes longer than a small fit."""
    folders = (Path(entry).glob("*.dist-info") for entry in sys.path if entry)
    return sorted({folder.name for found in folders for folder in found})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _arithmetic() -> str:
    found = {
        f"{pool['internal_api']} {pool.get('version') or ''} {pool.get('architecture') or ''}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found))


def _code() -> str:
    digest = hashlib.sha256()
    for name, source in _sources():
        digest.update(f"{name} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _sources() -> Iterator[tuple[str, Path]]:
    for package in _CODE:
        folder = Path(package.__path__[0])
        for source in sorted(folder.rglob("*.py")):
            yield f"{package.__name__}/{source.relative_to(folder).as_posix()}", source
