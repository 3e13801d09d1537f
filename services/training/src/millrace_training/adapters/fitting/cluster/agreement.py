"""What runs on a machine of a cluster, as far as it must be the same everywhere, and what it has used: asked of every one."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.processes.metering import Usage, own_usage

_PACKAGES = ("cloudpickle", "dask", "distributed", "msgpack", "numpy", "pyarrow", "tornado")
_XGBOOST = ("xgboost-cpu", "xgboost")  # the same library by two names


def what_runs() -> dict[str, str]:
    """Versions by package, and the digest of Millrace's own code that tasks are made of."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        found[name] = _version(name)
    return found | {
        "xgboost": _version(*_XGBOOST),
        "millrace's fitting code": environment().code[:12],
    }


def usage() -> tuple[int, Usage]:
    """Of this process: its number, and what it has used since it began."""
    return os.getpid(), own_usage()


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"
