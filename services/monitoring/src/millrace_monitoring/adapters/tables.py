"""Monitoring's own tables; the bus has its own beside them."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

pipelines = Table(
    "pipelines",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("settings", Text, nullable=False),  # a WatchedPipeline as JSON
)

champions = Table(
    "champions",
    METADATA,
    Column("pipeline", String(200), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("profile", LargeBinary, nullable=False),  # JSON, millrace_kernel.profile
)

monitors = Table(
    "monitors",
    METADATA,
    Column("pipeline", String(200), primary_key=True),
    Column("state", LargeBinary, nullable=False),  # a Monitor as msgpack; empty: nothing yet
)

waiting = Table(
    "waiting",
    METADATA,
    Column("pipeline", String(200), primary_key=True),
    Column("event_id", String(1000), primary_key=True),  # wire.LONGEST_EVENT_ID
    Column("number", BigInteger, nullable=False),  # of what was heard of the pipeline by then
    Column("since", BigInteger, nullable=False),  # recorded time, microseconds
    Column("sides", LargeBinary, nullable=False),  # a Waiting as msgpack
    Index("waiting_number", "pipeline", "number"),
    sqlite_with_rowid=False,
)
