"""What strikes must strike: processes die and come back, the proxy swallows what it should."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.chaos.disk import NoDiskError, SmallDisk
from tests.chaos.processes import Command, Managed
from tests.chaos.proxy import Proxy

from millrace_local.ports import free_port
from millrace_testkit.eventually import eventually


def managed(tmp_path: Path, program: str) -> Managed:
    command = Command([sys.executable, "-c", program], {}, tmp_path)
    return Managed("test", command, tmp_path / "test.log")


async def test_a_killed_process_comes_back_as_another_one(tmp_path: Path):
    process = managed(tmp_path, "import time; time.sleep(60)")
    await process.start()
    first = process.pid
    await process.kill()
    assert process.runs
    assert process.pid != first
    assert (process.starts, process.kills, process.exits) == (2, 1, [])
    await process.stop()
    assert not process.runs


async def test_a_kill_takes_the_children_too(tmp_path: Path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os, time; open(\"child\", \"w\").write(str(os.getpid())); time.sleep(60)'], start_new_session=True)"
    process = managed(tmp_path, child)
    await process.start()
    note = tmp_path / "child"
    await eventually(lambda: note.exists() and note.read_text(), within=30)
    pid = int(note.read_text())
    await process.kill(hold_down=True)
    await eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists() or _is_gone(pid), within=30)
    assert not process.runs
    await process.stop()


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


async def test_a_process_that_is_held_down_stays_down_until_it_is_started(tmp_path: Path):
    process = managed(tmp_path, "import time; time.sleep(60)")
    await process.start()
    process.hold_down()
    process.send(signal.SIGKILL)
    await process.death()
    await asyncio.sleep(0)
    assert not process.runs
    await process.start()
    await eventually(lambda: process.runs, within=30)
    assert process.starts == 2
    await process.stop()


async def test_a_process_that_ends_by_itself_is_noted_and_started_again(tmp_path: Path):
    process = managed(tmp_path, "raise SystemExit(3)")
    await process.start()
    await eventually(lambda: process.starts > 1, within=30)
    assert process.exits[0] == 3
    await process.stop()


async def test_a_process_that_stands_still_can_be_stopped(tmp_path: Path):
    process = managed(tmp_path, "import time; time.sleep(60)")
    await process.start()
    process.send(signal.SIGSTOP)
    await process.stop()
    assert not process.runs


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that says back what it hears."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while heard := await reader.read(100):
            writer.write(heard)
            await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    proxy = Proxy(free_port(), port)
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


async def test_what_passes_the_proxy_passes_both_ways(proxy: Proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_while_unreachable_nothing_passes_and_afterwards_connections_are_new(proxy: Proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    away = asyncio.ensure_future(proxy.unreachable(0.5))
    await asyncio.sleep(0)
    writer.write(b"lost")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(4)  # broken when the outage ends, and not answered before
    assert away.done() or await asyncio.wait_for(away, 30) is None
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"
    writer.close()


def test_a_filled_disk_takes_nothing_until_it_is_freed(tmp_path: Path):
    disk = SmallDisk(tmp_path / "disk")
    try:
        disk.mount()
    except NoDiskError as error:
        pytest.skip(str(error))
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "more").write_bytes(b"x")
        disk.free()
        (disk.folder / "more").write_bytes(b"x")
    finally:
        disk.unmount()
