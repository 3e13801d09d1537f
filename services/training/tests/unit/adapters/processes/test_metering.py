"""What a process uses, and the energy of the machine that falls to it."""

import os
import time

import psutil
import pytest

from millrace_training.adapters.processes.metering import Meter, Usage, own_usage, usage_of

HERTZ = os.sysconf("SC_CLK_TCK")


def test_another_process_is_read_as_psutil_reads_it():
    process = psutil.Process()

    usage = usage_of(process.pid)
    times = process.cpu_times()

    assert usage.cpu_seconds == pytest.approx(times.user + times.system, abs=0.5)
    assert usage.peak_bytes == pytest.approx(process.memory_info().rss, rel=0.2)


def test_a_process_with_brackets_in_its_name_is_read_right(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "stat").write_text(f"7 (a) b (c) S {' 0' * 10} {3 * HERTZ} {HERTZ} 0 0 20 0 1 0")
    (folder / "statm").write_text("1000 25 10 1 0 100 0")

    assert usage_of(7, tmp_path) == Usage(4.0, 25 * os.sysconf("SC_PAGE_SIZE"))


def test_nobody_uses_nothing(tmp_path):
    assert usage_of(7, tmp_path) is None


def test_ones_own_peak_outlives_the_memory():
    taken = bytearray(b"x" * (64 << 20))
    peak = own_usage().peak_bytes
    del taken

    assert own_usage().peak_bytes >= peak > 64 << 20


@pytest.fixture
def machine(tmp_path):
    """A machine with two packages, whose counters and processor time a test sets: microjoules, ticks."""

    def set_to(first: int, second: int, busy: int):
        for number, energy in enumerate((first, second)):
            package = tmp_path / "powercap" / f"intel-rapl:{number}"
            package.mkdir(parents=True, exist_ok=True)
            (package / "energy_uj").write_text(f"{energy}\n")
            (package / "max_energy_range_uj").write_text("1000000000\n")
            core = tmp_path / "powercap" / f"intel-rapl:{number}:0"  # a part of its package
            core.mkdir(exist_ok=True)
            (core / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / "stat").write_text(f"cpu  {busy} 0 0 999999 0 0 0 0 0 0\ncpu0 0\n")
        return {"powercap": tmp_path / "powercap", "proc": tmp_path}

    return set_to


def test_a_process_is_given_its_share_of_the_machines_energy(machine):
    meter = Meter(**machine(1_000_000, 2_000_000, busy=0))
    meter.add(Usage(3.0, 1))
    machine(11_000_000, 32_000_000, busy=12 * HERTZ)

    assert meter.cost().joules == pytest.approx((10 + 30) * 3 / 12)


def test_a_counter_that_starts_again_is_understood(machine):
    meter = Meter(**machine(999_000_000, 0, busy=0))
    meter.add(Usage(1.0, 1))
    machine(2_000_000, 0, busy=HERTZ)

    assert meter.cost().joules == pytest.approx(3.0)


def test_a_machine_without_a_meter_reports_no_energy_rather_than_none_used(tmp_path):
    assert Meter(powercap=tmp_path).cost().joules is None


def test_a_meter_that_may_not_be_read_reports_none(machine):
    where = machine(1, 1, busy=0)
    (where["powercap"] / "intel-rapl:1" / "energy_uj").write_text("")

    assert Meter(**where).cost().joules is None


def test_the_greatest_of_all_looks_counts():
    meter = Meter()
    for usage in (Usage(1.0, 500), Usage(2.0, 300)):
        meter.add(usage)
    time.sleep(0.01)
    cost = meter.cost()

    assert (cost.cpu_seconds, cost.peak_memory_bytes) == (2.0, 500)
    assert cost.wall_seconds >= 0.01
