"""This service's tables. The bus's own (positions, fences, outbox) stand beside them in the same database."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

METADATA = MetaData()

_NAME = String(63)  # a pipeline's
_TOPIC = String(249)
_ID = String(64)
_EVENT_ID = String()  # the user's
_NUMBER = BigInteger().with_variant(
    Integer, "sqlite"
)  # SQLite numbers rows by itself only for INTEGER keys

pipelines = Table(
    "pipelines",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("version", Integer, nullable=False),  # of the file in force; 0: none heard of yet
    Column("history", Text, nullable=False),  # millrace_training.domain.retraining.History as JSON
)

pipeline_files = Table(
    "pipeline_files",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("spec_json", Text, nullable=False),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("pipeline", _NAME, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("cause_id", _EVENT_ID, nullable=False),
    Column("reason", String(32), nullable=True),  # why not; NULL: a run was asked for
    Column("run_number", Integer, nullable=True),
    Column("detail", Text, nullable=False),
    Index("decisions_of_pipeline", "pipeline", "number"),
)

runs = Table(
    "runs",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("run_number", Integer, primary_key=True),
    Column("run_id", _ID, nullable=False, unique=True),
    Column("pipeline_version", Integer, nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("cause_id", _EVENT_ID, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # requested, started, finished, failed, skipped
    Column(
        "open_number", _NUMBER, nullable=False
    ),  # the decision's: the order in which runs are taken
    Column(
        "origin", Text, nullable=False
    ),  # what the request descended from: millrace_contracts.message.Cause
    Column("reason", Text, nullable=True),
    Column("algorithm", Text, nullable=True),
    Column("metrics_json", Text, nullable=True),
    Column("artifact_uri", Text, nullable=True),
    Column("artifact_sha256", _ID, nullable=True),
    Column("train_rows", BigInteger, nullable=True),
    Column("holdout_rows", BigInteger, nullable=True),
    Column("cpu_seconds", Float, nullable=True),
    Column("wall_seconds", Float(53), nullable=True),
    Column("peak_memory_bytes", BigInteger, nullable=True),
    Column("joules", Float(53), nullable=True),  # NULL: the machine does not tell
    Column("points", Float(53), nullable=True),  # domain.costs.points_gained
    Column("promoted", Boolean, nullable=False, server_default=false()),
    Column("card_uri", Text, nullable=True),
    Column("card_sha256", _ID, nullable=True),
    Column("card_due", LargeBinary, nullable=True),  # running.records.Due: until the card is made
    Column("record_json", Text, nullable=True),  # what it takes to make the same artifact again
    Index("runs_by_state", "state", "open_number"),
    Index(
        "runs_with_cards_due",
        "pipeline",
        "run_number",
        sqlite_where=text("card_due IS NOT NULL"),
        postgresql_where=text("card_due IS NOT NULL"),
    ),
)

datasets = Table(
    "datasets",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("run_number", Integer, primary_key=True),
    Column("uri", Text, nullable=False),
    Column("sha256", _ID, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("vectors_version", BigInteger, nullable=False),
    Column("labels_version", BigInteger, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("first_event_time_us", BigInteger, nullable=False),
    Column("last_event_time_us", BigInteger, nullable=False),
)

# Trials that ended, of runs that go on too: what a search that was cut off need not repeat.
trials = Table(
    "trials",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("run_number", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("parameters_json", Text, nullable=False),
    Column("metrics_json", Text, nullable=False),
    Column("cpu_seconds", Float(53), nullable=False),
    Column("loss", Float(53), nullable=False),
    Column("state", String(16), nullable=False),  # complete, pruned, failed
    Column(
        "kept", Text, nullable=False
    ),  # millrace_training.adapters.fitting.job.TrialResult as JSON
)

# What came and is not in the lake yet. The key is the place in the topic, so that nothing can be staged twice.
staged_vectors = Table(
    "staged_vectors",
    METADATA,
    Column("topic", _TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("pipeline", _NAME, nullable=False),
    Column("pipeline_version", Integer, nullable=False),
    Column("event_id", _EVENT_ID, nullable=False),
    Column("entity", _EVENT_ID, nullable=False),
    Column("event_time_us", BigInteger, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("numbers", LargeBinary, nullable=False),  # doubles, little-endian
    Column("categories", LargeBinary, nullable=False),  # msgpack: [text, …]
    sqlite_with_rowid=False,
)

staged_labels = Table(
    "staged_labels",
    METADATA,
    Column("topic", _TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("pipeline", _NAME, nullable=False),
    Column("event_id", _EVENT_ID, nullable=False),
    Column("known_at_us", BigInteger, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("retracted", Boolean, nullable=False),
    Column("number", Float(53), nullable=True),
    Column("text", Text, nullable=True),
    sqlite_with_rowid=False,
)

# Which side of an event was seen: what makes the count of labelled rows exact.
sides = Table(
    "sides",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("event_id", _EVENT_ID, primary_key=True),
    Column(
        "version", Integer, nullable=True
    ),  # of the file that fixes the vector's columns; NULL: no vector yet
    Column(
        "known_at_us", BigInteger, nullable=True
    ),  # of the newest label or retraction; NULL: none yet
    Column("labelled", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

labelled_rows = Table(
    "labelled_rows",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("rows", BigInteger, nullable=False),
)


def upsert(connection: Connection, table: Table) -> Insert:
    """An insert that replaces every column of the row that has the key already."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    replaced = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    replacing: Insert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=replaced
    )
    return replacing
