"""The registry's tables. Their constraints make impossible what must not happen, whatever the code does: a run
registered twice, an epoch given twice, a message that promotes twice, two champions of one pipeline."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from millrace_bus import tables as bus
from millrace_registry.domain.models import Stage

METADATA = MetaData()

_NAME = String(63)
_DIGEST = String(64)
_ID = String(400)
_STAGES = ", ".join(f"'{stage.value}'" for stage in Stage)

pipelines = Table(
    "pipelines",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("version", Integer, nullable=False),  # of the file in force
    Column("digest", _DIGEST, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # of the newest promotion
    Column("line", Text, nullable=False),  # champions, oldest first, as JSON
    Column("paused", Boolean, nullable=False),
    Column("trial", Text, nullable=True),  # the running one as JSON
    Column("trials", BigInteger, nullable=False, server_default="0"),  # so many have begun
)

pipeline_versions = Table(
    "pipeline_versions",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("spec_json", Text, nullable=False),
    Column("applied_at_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["pipeline"], ["pipelines.name"], name="pipeline_versions_of_pipeline"),
)

model_versions = Table(
    "model_versions",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("stage", String(20), nullable=False),
    Column("pipeline_version", BigInteger, nullable=False),
    Column("run_id", _ID, nullable=False),
    Column("run_number", BigInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("cause_id", _ID, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("parameters_json", Text, nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("artifact_sha256", Text, nullable=False),
    Column(
        "artifact_signature", LargeBinary, nullable=False
    ),  # empty: from before models were signed
    Column("signing_key_id", Text, nullable=False),
    Column("dataset_uri", Text, nullable=False),
    Column("dataset_sha256", Text, nullable=False),
    Column("train_rows", BigInteger, nullable=False),
    Column("holdout_rows", BigInteger, nullable=False),
    Column("metrics", Text, nullable=False),  # JSON
    Column("champion_metrics", Text, nullable=False),  # JSON
    Column("champion_version", BigInteger, nullable=False),
    Column("better_probability", Double, nullable=False),
    Column("reference_profile", LargeBinary, nullable=False),
    Column("fit_seconds", Double, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("card_uri", Text, nullable=False, server_default=""),  # empty: no model card was made
    Column("card_sha256", Text, nullable=False, server_default=""),
    Column("as_of_us", BigInteger, nullable=False),
    Column("message_id", _ID, nullable=False),  # that the run completed
    Column("registered_at_us", BigInteger, nullable=False),
    Column("verdicts", Text, nullable=False),  # JSON
    Column("reason", Text, nullable=False),  # of its stage, in words
    Column("decided_by", _ID, nullable=False),  # the message that led to its stage
    UniqueConstraint("pipeline", "run_id", name="model_versions_once_per_run"),
    ForeignKeyConstraint(["pipeline"], ["pipelines.name"], name="model_versions_of_pipeline"),
    CheckConstraint(f"stage IN ({_STAGES})", name="model_versions_known_stage"),
)
_CHAMPIONS = text(f"stage = '{Stage.CHAMPION.value}'")
Index(
    "model_versions_one_champion",
    model_versions.c.pipeline,
    unique=True,
    sqlite_where=_CHAMPIONS,
    postgresql_where=_CHAMPIONS,
)
Index("model_versions_by_decision", model_versions.c.pipeline, model_versions.c.decided_by)

promotions = Table(
    "promotions",
    METADATA,
    Column("pipeline", _NAME, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("kind", String(20), nullable=False),  # promoted, rolled back
    Column("version", Integer, nullable=False),
    Column("previous_version", Integer, nullable=False),
    Column("actor", Text, nullable=True),  # None: by itself
    Column("reason", Text, nullable=False),
    Column("cause_id", _ID, nullable=False),  # the message that led to it
    Column("at_us", BigInteger, nullable=False),
    UniqueConstraint("pipeline", "cause_id", name="promotions_once_per_cause"),
    ForeignKeyConstraint(
        ["pipeline", "version"],
        ["model_versions.pipeline", "model_versions.version"],
        name="promotions_of_version",
    ),
)

for _table in bus.METADATA.tables.values():
    _table.to_metadata(METADATA)
