"""The check for breaking changes is one that can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proto" / "millrace", tmp_path / "proto" / "millrace")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def breaking(contracts: Path) -> subprocess.CompletedProcess[str]:
    released = ROOT / "proto" / "released.binpb"
    return subprocess.run(
        [BUF, "breaking", "--against", released],
        cwd=contracts,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def change(contracts: Path, name: str, before: str, after: str) -> None:
    file = contracts / "proto" / "millrace" / "v1" / name
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_the_released_contracts_are_not_broken(contracts: Path):
    assert breaking(contracts).returncode == 0


def test_a_new_field_breaks_nobody(contracts: Path):
    change(
        contracts,
        "features.proto",
        "  bool late = 8;",
        "  bool late = 8;\n  // New.\n  string note = 9;",
    )
    assert breaking(contracts).returncode == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("int64 event_time_us = 5", "string event_time_us = 5"),
        ("string entity = 4", "string who = 4"),
        ("repeated double numbers = 6", "repeated double numbers = 9"),
    ],
)
def test_a_changed_type_name_or_number_is_refused(contracts: Path, before: str, after: str):
    change(contracts, "features.proto", before, after)
    assert breaking(contracts).returncode != 0
