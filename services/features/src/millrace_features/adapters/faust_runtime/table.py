"""A Faust table whose changelog can be trusted: acknowledged before it counts, merged by offset when it is read.

Faust's own table sends changes in the background and lets the last one win. Here a partition's rows are acknowledged by
the broker first and then written locally in one batch, and reading the changelog never replaces a row by an older one:
an instance that lost its partitions without knowing (stopped for longer than its session) may still append old rows.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import faust
from faust.stores.rocksdb import Store
from faust.types import TP, EventT
from rocksdict import Rdict, WriteBatch
from typing_extensions import override

from millrace_features.adapters.faust_runtime.rows import (
    POSITION_KEY,
    decode_position,
    encode_position,
    merged,
)

STORE_OPTIONS = {  # of one partition's RocksDB; Faust's own suit one table on a server of its own
    "driver": "rocksdict",
    "write_buffer_size": 16 << 20,
    "max_write_buffer_number": 2,
    "block_cache_size": 16 << 20,
    "max_open_files": 64,
}


class RowTable(faust.Table):  # type: ignore[type-arg]  # generic for type checkers only
    """Rows by entity, one RocksDB a partition. Only whole steps are written: see `store`."""

    def load(self, partition: int, key: bytes) -> bytes | None:
        """A row's bytes, or None. The partition must be assigned to this instance."""
        content: bytes | None = self._database(partition).get(key)
        return content

    def position(self, partition: int) -> int | None:
        """The next offset of the input to be applied; None before the first step."""
        content = self.load(partition, POSITION_KEY)
        return None if content is None else decode_position(content)

    async def store(self, partition: int, rows: Mapping[bytes, bytes], position: int) -> None:
        """Write a step: rows acknowledged in the changelog, then the position, then all of it locally as one.

        A kill in between leaves the position too low, never too high, and rows that know what they have applied.
        """
        offsets = await self._append(partition, rows)
        content = encode_position(position)
        offsets += await self._append(partition, {POSITION_KEY: content})
        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            batch.put(key, row)
        batch.put(POSITION_KEY, content)
        self._note_offset(batch, partition, offsets)
        self._database(partition).write(batch)

    @override
    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Take in what the changelog says: of a row the newest by its offset, of the position the last."""
        changes: dict[int, dict[bytes, bytes]] = {}
        newest: dict[int, int] = {}
        for event in batch:
            message = event.message
            partition, key, value = message.partition, message.key, message.value
            newest[partition] = max(message.offset, newest.get(partition, -1))
            if key is None or value is None:
                continue
            changed = changes.setdefault(partition, {})
            known = changed.get(key) or self.load(partition, key)
            changed[key] = merged(key, known, value)
        for partition, offset in newest.items():
            writes = WriteBatch(raw_mode=True)
            for key, value in changes.get(partition, {}).items():
                writes.put(key, value)
            writes.put(Store.offset_key, str(offset).encode())
            self._database(partition).write(writes)

    def close_databases(self) -> None:
        """Release RocksDB's locks: Faust leaves that to the garbage collector, and a restart would meet them."""
        databases = self._rocks._dbs  # noqa: SLF001  Faust has no public way to a partition's database
        for database in databases.values():
            database.close()
        databases.clear()

    async def _append(self, partition: int, values: Mapping[bytes, bytes]) -> list[int]:
        """Append to the changelog's partition; the offsets, once all are acknowledged by all in-sync replicas."""
        topic, send = self.changelog_topic_name, self.app.producer.send
        sent = [
            await send(topic, key, value, partition, None, None) for key, value in values.items()
        ]
        return [done.offset for done in await asyncio.gather(*sent)]

    def _note_offset(self, batch: WriteBatch, partition: int, offsets: list[int]) -> None:
        """Say that the changelog is known up to here, if every record since the last such note is our own.

        A foreign record in between (of an instance that did not know it had lost the partition) has not been merged:
        the note stays where it is, and the next recovery reads from there.
        """
        known = self.persisted_offset(TP(self.changelog_topic_name, partition))
        first = 0 if known is None else known + 1
        if sorted(offsets) == list(range(first, first + len(offsets))):
            batch.put(Store.offset_key, str(first + len(offsets) - 1).encode())

    @property
    def _rocks(self) -> Store:
        store = self.data
        assert isinstance(store, Store)
        return store

    def _database(self, partition: int) -> Rdict:
        database: Rdict = self._rocks._db_for_partition(partition)  # noqa: SLF001  see close_databases
        return database
