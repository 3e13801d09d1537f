"""The command line: one clear line for a mistake, and the right exit code."""

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from millrace.addresses import with_stack
from millrace.checks import clock, disk, home
from millrace.cli import main
from millrace.commands.pipelines import target_of
from millrace.commands.replay import pace_of
from millrace.commands.topics import types_of
from millrace.demo.home import free_name, make_ready
from millrace.errors import ClientError, UsageError
from millrace.feed import all_types
from millrace.gist import gist
from millrace.output import cell
from millrace.replay.files import rows_of
from millrace.replay.pace import Pace
from millrace.settings import PROGRAMS, Settings
from millrace.supervisor import plan
from millrace.supervisor.stack_file import ProcessState, Seen, Stack
from millrace.wire import event_classes, fields_of
from millrace_kernel.time import Instant


@pytest.fixture(autouse=True)
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, and ports that nothing listens on."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    for number, name in enumerate(PROGRAMS):
        monkeypatch.setenv(f"{name.upper()}_PORT", str(2 + number))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["replay", "none.csv", "--pipeline", "bikes"], 2, "no file none.csv"),
        (["promote", "bikes@new"], 2, "'bikes@new' is no PIPELINE[@VERSION]; write bikes"),
        (["tail", "--type", "Drift"], 2, "no event type 'Drift'; there are AlertRaised"),
        (["up", "--only", "postgres"], 2, "no program 'postgres'; --only takes kafka, zipkin"),
        (["get", "models", "bikes"], 1, "registry does not answer at http://127.0.0.1:"),
        (["get", "pipelines"], 1, "start the stack with `millrace up`"),
        (["tail"], 1, "Kafka does not answer at 127.0.0.1:2: start the stack"),
        (["apply", "none.yaml"], 2, "none.yaml can't be read"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["get", "rubbish"], 2, "rubbish"),
    ],
)
def test_a_mistake_is_told_in_words(
    arguments: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    captured = capfd.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_every_problem_of_a_pipeline_file_is_told_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bikes.yaml"
    file.write_text(
        "metadata: {name: bikes}\nspec:\n  event: {id: id, time: at}\n  fields: {temp: number}\n  label: {field: cnt, kind: avg}\n"
    )
    assert main(["apply", str(file)]) == 1
    err = capfd.readouterr().err
    assert f"{file}: line 4: spec.fields.temp" in err
    assert f"{file}: line 5: spec.label.kind" in err
    assert "is refused: 2 problems" in err


def test_the_catalogue_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"millrace.drift", "millrace.models"} <= {row["name"] for row in rows}


def test_status_without_a_stack_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert "millrace up --detach" in capsys.readouterr().out


def test_down_without_a_stack_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert "runs." in capsys.readouterr().out


def test_a_taken_port_is_told_with_the_variable_that_moves_it(taken: int) -> None:
    settings = Settings.of({"SERVING_PORT": str(taken)})
    with pytest.raises(ClientError, match=rf"port {taken} is taken.*SERVING_PORT="):
        plan.refuse_taken_ports(settings, ["serving"])


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="KAFKA_PORT='x' is no port"):
        Settings.of({"KAFKA_PORT": "x"})


def test_a_kafka_that_is_named_is_not_started() -> None:
    settings = Settings.of({"KAFKA_BOOTSTRAP_SERVERS": "broker:9092"})
    assert "kafka" not in plan.names_of(settings, ())
    assert "kafka" in plan.names_of(Settings.of({}), ())


def test_without_zipkin_traces_no_zipkin_is_started() -> None:
    assert "zipkin" not in plan.names_of(Settings.of({"OTEL_TRACES_EXPORTER": "none"}), ())


def test_a_running_stacks_own_addresses_count() -> None:
    moved = ProcessState("serving", None, 9205, "http://127.0.0.1:9205", None, 0, "log")
    stack = Stack("home", Seen(1, 1.0), "then", "127.0.0.1:9292", None, (moved,))
    settings = with_stack(Settings.of({}), stack)
    assert settings.urls["serving"] == "http://127.0.0.1:9205"
    assert settings.bootstrap == "127.0.0.1:9292"
    named = with_stack(Settings.of({"SERVING_PORT": "7777"}), stack)
    assert named.urls["serving"] == "http://127.0.0.1:7777"


def test_targets_are_read() -> None:
    assert target_of("bikes") == ("bikes", 0)
    assert target_of("bikes@3") == ("bikes", 3)
    for wrong in ("", "@3", "bikes@", "bikes@0", "bikes@-1"):
        with pytest.raises(UsageError):
            target_of(wrong)


def test_paces_are_read() -> None:
    assert pace_of(None, None) == Pace(rate=200)
    assert pace_of("max", None) == Pace()
    assert pace_of("12.5", None) == Pace(rate=12.5)
    assert pace_of(None, 3600) == Pace(speed=3600)
    for rate, speed in (("fast", None), ("0", None), ("nan", None), ("inf", None), ("1", 2.0)):
        with pytest.raises(UsageError):
            pace_of(rate, speed)


def test_types_are_found_whatever_their_case() -> None:
    assert types_of(["driftdetected"]) == ("millrace.v1.DriftDetected",)
    assert types_of(None) == all_types()


def test_rows_are_the_same_from_every_kind_of_file(tmp_path: Path) -> None:
    table = pyarrow.table({"id": ["a", "b"], "n": ["1", "2"]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("id,n\na,1\nb,2\n")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"id,n\na,1\nb,2\n"))
    (tmp_path / "rows.jsonl").write_text('{"id":"a","n":"1"}\n\n{"id":"b","n":"2"}\n')
    expected = [{"id": "a", "n": "1"}, {"id": "b", "n": "2"}]
    for name in ("rows.parquet", "rows.csv", "rows.csv.gz", "rows.jsonl"):
        assert rows_of(tmp_path / name) == expected
        assert rows_of(tmp_path / name, limit=1) == expected[:1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", b"id,n\na,1,2\n", "line 2: not as many values"),
        ("rows.csv", b"id,n\na\n", "line 2: not as many values"),
        ("rows.jsonl", b'{"id":1}\n[1]\n', "line 2: not a JSON object"),
        ("rows.jsonl", b"{\n", "line 1: not JSON"),
        ("rows.parquet", b"PAR?", "is no Parquet file"),
        ("rows.csv.gz", b"id,n\n", "can't be read"),
        ("rows.xml", b"", "is none of .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_where(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClientError) as error:
        rows_of(tmp_path / name)
    assert told in str(error.value)


def test_every_event_of_the_catalogue_can_be_read_and_told() -> None:
    classes = event_classes()
    for full in all_types():
        fields = fields_of(classes[full]())
        assert "pipeline" in fields
        if full.rpartition(".")[2] != "PredictionMade":  # without a value it is no answer
            assert isinstance(gist(full.rpartition(".")[2], fields), str)


def test_a_demo_makes_its_home_afresh_but_never_takes_somebodys(tmp_path: Path) -> None:
    settings = Settings.of({"MILLRACE_HOME": str(tmp_path / "new")})
    assert make_ready(settings, print)
    (settings.home / "objects").mkdir()
    assert make_ready(settings, print)
    assert not (settings.home / "objects").exists()
    settings.demo_mark.unlink()
    (settings.home / "objects").mkdir()
    assert not make_ready(settings, print)
    assert (settings.home / "objects").exists()


def test_a_name_that_is_taken_is_counted_on() -> None:
    assert free_name("bikes", set()) == "bikes"
    assert free_name("bikes", {"bikes", "bikes-2"}) == "bikes-3"


def test_the_machine_is_checked_with_a_fix(tmp_path: Path) -> None:
    settings = Settings.of({"MILLRACE_HOME": str(tmp_path)})
    assert home(settings).ok
    assert disk(settings, needed=1).ok
    full = disk(settings, needed=10**18)
    assert (full.ok, "MILLRACE_HOME" in full.fix) == (False, True)
    assert not clock(Instant(0)).ok
    (tmp_path / "file").touch()
    assert not home(Settings.of({"MILLRACE_HOME": str(tmp_path / "file" / "x")})).ok


def test_cells_are_short() -> None:
    assert [cell(v) for v in (None, True, 0.123456, 123456.7, {"mae": 18.333}, ["a", "b"])] == [
        "-",
        "yes",
        "0.1235",
        "123457",
        "mae=18.33",
        "a, b",
    ]
