"""Registers the fixtures that all tests share, and the profile of long fuzzing; and has what may take longest begin first."""

from collections import defaultdict
from pathlib import Path

import pytest

pytest_plugins = ["millrace_testkit.servers", "millrace_testkit.fuzzing"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several workers share them, files with the longest time-outs first: who gets a long one last has the others wait.

    The tests of a file stay together and in their order (`--no-loadscope-reorder` keeps pytest-xdist from putting the
    files with the fewest tests, which are long ones, at the end).
    """
    if not hasattr(config, "workerinput"):
        return
    longest: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        for marker in item.iter_markers("timeout"):
            longest[item.path] = max(longest[item.path], float(marker.args[0]))
    items.sort(key=lambda item: -longest[item.path])
