"""The command line and recorded files, with anything in them: one line that says what to do, never a traceback."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import gzip
import io
import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.cli import main
from millrace.errors import ClientError
from millrace.replay.files import rows_of
from millrace.settings import PROGRAMS
from millrace_testkit.fuzzing import effort

# commands that only look, and those that fail at what they are given: none starts or stops anything
COMMANDS = [
    "get",
    "why",
    "replay",
    "apply",
    "promote",
    "rollback",
    "retrain",
    "tail",
    "backtest",
    "frobnicate",
    "dlq",
]
WORDS = [
    "pipelines", "models", "bikes", "bikes@1", "bikes@", "@", "bikes@x", "bikes@-1", "bikes@99999999999999999999", "../..", "%s%n",
    "--pipeline", "--rate", "max", "0", "-1", "nan", "1e999", "--speed", "inf", "--limit", "-o", "json", "yaml", "--type", "--help",
    "list", "show", "--", "-", "", "🚀", "\udcff", "a\nb", "[red]x[/red]", "x" * 3_000, "none.csv", "/", ".",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, and ports that nothing listens on."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(PROGRAMS):
        monkeypatch.setenv(f"{name.upper()}_PORT", str(2 + number))


def test_any_arguments_end_with_an_exit_code_and_words() -> None:
    @effort(80)
    @given(st.sampled_from(COMMANDS), st.lists(st.sampled_from(WORDS), max_size=4))
    def holds(command: str, words: list[str]) -> None:
        told = io.StringIO()
        with redirect_stderr(told), redirect_stdout(told):
            code = main([command, *words])
        assert code in (0, 1, 2), told.getvalue()
        assert "Traceback" not in told.getvalue()

    holds()


contents = (
    st.binary(max_size=200)
    | st.text().map(lambda text: text.encode("utf-8", "replace"))
    | st.text('ab,";\n\r\t\0 1', max_size=60).map(str.encode)
    | st.lists(st.dictionaries(st.text(max_size=2), st.integers() | st.text(max_size=3)), max_size=4).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    )
)  # fmt: skip
endings = st.sampled_from(
    [".csv", ".jsonl", ".json", ".ndjson", ".parquet", ".csv.gz", ".jsonl.gz", ".CSV", ".txt", ""]
)


@st.composite
def spoilt_archives(draw: st.DrawFn) -> bytes:
    """Gzip with a byte changed or an end cut off: what a broken download is."""
    archive = bytearray(gzip.compress(b'{"id": 1}\n' * 50, mtime=0))
    place = draw(st.integers(0, len(archive) - 1))
    if draw(st.booleans()):
        archive[place] = draw(st.integers(0, 255))
        return bytes(archive)
    return bytes(archive[:place])


@effort(200)
@given(contents | spoilt_archives(), endings, st.none() | st.integers(1, 3))
def test_any_file_is_rows_or_an_error_that_names_it(
    content: bytes, ending: str, limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{ending}"
        path.write_bytes(content)
        try:
            rows = rows_of(path, limit)
        except ClientError as error:
            assert str(error)
            return
    assert all(isinstance(row, dict) for row in rows)
    assert limit is None or len(rows) <= limit


def test_a_damaged_archive_is_told_in_words(tmp_path: Path) -> None:
    """Damage in the middle of the stream is neither an OSError nor an EOFError."""
    archive = bytearray(gzip.compress(b'{"id": 1}\n' * 50, mtime=0))
    path = tmp_path / "rows.jsonl.gz"
    for place in range(10, len(archive) - 8):
        path.write_bytes(archive[:place] + bytes([archive[place] ^ 0xFF]) + archive[place + 1 :])
        with pytest.raises(ClientError):
            rows_of(path)
