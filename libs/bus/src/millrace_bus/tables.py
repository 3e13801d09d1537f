"""The bus's own tables in a service's database: positions, fences, and the outbox with Debezium's columns."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

METADATA = MetaData()

# SQLite numbers rows by itself only for INTEGER keys
_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")

positions = Table(
    "bus_positions",
    METADATA,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

fences = Table(
    "bus_fences",
    METADATA,
    Column(
        "topic", String(249), primary_key=True
    ),  # the input that the source writes to; "" for local inputs
    Column("partition", Integer, primary_key=True),
    Column("source", String(400), primary_key=True),
    Column(
        "sequence",
        String(100).with_variant(
            String(100, collation="C"), "postgresql"
        ),  # compared as bytes, in no language
        nullable=False,
    ),
)

# id, aggregatetype, aggregateid, type and payload are what Debezium's outbox event router expects
outbox = Table(
    "outbox",
    METADATA,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("aggregatetype", String(249), nullable=False),  # the topic
    Column("aggregateid", String(1000), nullable=False),  # the key, for people and for Debezium
    Column("type", String(200), nullable=False),
    Column("payload", LargeBinary, nullable=True),
    Column("key", LargeBinary, nullable=True),
    Column("headers", LargeBinary, nullable=False),  # msgpack: [[name, value], …]
    Column("timestamp_ms", BigInteger, nullable=True),
    # else SQLite gives the numbers of deleted rows to new ones, and a relay that forgets what another one has published
    # before it forgets messages that nobody has
    sqlite_autoincrement=True,
)
