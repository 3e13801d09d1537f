"""Training's settings: the one place that reads its environment."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from millrace_service.settings import PlatformSettings
from millrace_training.domain.costs import Prices


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    training_port: int = Field(default=8103, description="Port of training's HTTP")
    training_database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; default DATABASE_URL, else SQLite under <home>/training",
    )
    training_parallel_runs: int = Field(
        default=1, ge=1, description="Runs at a time in this process"
    )
    training_memory_mb: int = Field(
        default=4096,
        ge=256,
        description="Memory (MiB resident, libraries included) that one run's fit may have; one with more is stopped",
    )
    training_cpu_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="Processor time that one run's fit may use, all threads together",
    )
    training_threads: int = Field(default=1, ge=1, description="Threads that one run's fit may use")
    training_fit_seconds: float = Field(
        default=900.0, gt=0, description="How long a fit may take beyond its search's timeout"
    )
    training_estimator_modules: str = Field(
        default="sklearn.",
        description="Modules from which pipeline files may name estimators by import path, separated by commas; "
        "their code is run by fits",
    )
    training_commands: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Programs that pipeline files may name as candidates (`command:NAME`), as JSON: "
        '`{"NAME": ["/opt/train", "--in", "{folder}"]}`; fits run them, under this service\'s account',
    )
    training_command_seconds: float = Field(
        default=300.0, gt=0, description="How long one fit by such a program may take"
    )
    training_clusters: dict[str, str] = Field(
        default={},
        description="Dask schedulers that pipeline files may name (`training.cluster`), as JSON: "
        '`{"main": "tls://dask:8786"}`. Rows and model code go there, and what comes back is unpickled by the fit\'s process, '
        "so name only what is trusted like this service",
    )
    training_cluster_workers: int = Field(
        default=1, ge=1, description="Workers that a cluster must have before a fit begins on it"
    )
    training_cluster_wait_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a fit waits for a scheduler and its workers before its run fails",
    )
    training_cluster_part_rows: int = Field(
        default=100_000,
        ge=100,
        description="Rows in one part of a dataset that a cluster takes, about; a worker reads whole parts",
    )
    training_cluster_sample_rows: int = Field(
        default=20_000,
        ge=100,
        description="Rows before the holdout that the trainer's own process sees of such a dataset, for searches, naive "
        "baselines and checks",
    )
    training_cluster_ca_file: Path | None = Field(
        default=None, description="Who signed the clusters' certificates, PEM; for tls:// addresses"
    )
    training_cluster_certificate_file: Path | None = Field(
        default=None, description="Training's own certificate for clusters, PEM"
    )
    training_cluster_key_file: Path | None = Field(
        default=None, description="The private key of that certificate, PEM"
    )
    training_encoders_dir: Path | None = Field(
        default=None,
        description="Folder of the ONNX sentence encoders that pipeline files may name (`model.text.encoder`); "
        "default <home>/encoders",
    )
    training_cards: bool = Field(
        default=True,
        description="Whether each candidate gets a model card, in a process after its fit that counts in the run's cost",
    )
    training_card_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a model card may take; one that takes longer is left out",
    )

    training_price_cpu_hour: float | None = Field(
        default=None, ge=0, description="What an hour of one processor costs; unset: not priced"
    )
    training_price_gb_hour: float | None = Field(
        default=None,
        ge=0,
        description="What 10^9 bytes of memory cost for an hour; unset: not priced",
    )
    training_price_kwh: float | None = Field(
        default=None,
        ge=0,
        description="What a kilowatt hour costs, where the machine tells its energy; unset: not priced",
    )
    training_currency: str = Field(
        default="EUR",
        max_length=16,
        description="What the prices are in, as it stands beside money",
    )

    millrace_signing_key_file: Path | None = Field(
        default=None,
        description="Private key that models are signed with: Ed25519, PKCS 8 in PEM, mode 600; "
        "default <home>/keys/signing.pem, made when missing",
    )

    @field_validator("training_commands")
    @classmethod
    def _named(cls, commands: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, line in commands.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is no name; write letters, digits and underscores")
            if not line or not line[0]:
                raise ValueError(f"{name!r} names no program; write a list, the program first")
        return commands

    @field_validator("training_clusters")
    @classmethod
    def _schedulers(cls, clusters: dict[str, str]) -> dict[str, str]:
        for name, address in clusters.items():
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
                raise ValueError(f"{name!r} is no name; write small letters, digits and hyphens")
            if not re.fullmatch(r"(tcp|tls)://[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}", address):
                raise ValueError(f"{address!r} is no scheduler; write e.g. tls://dask:8786")
        return clusters

    @model_validator(mode="after")
    def _certificates(self) -> Self:
        files = (
            self.training_cluster_ca_file,
            self.training_cluster_certificate_file,
            self.training_cluster_key_file,
        )
        encrypted = [name for name, at in self.training_clusters.items() if at.startswith("tls")]
        if encrypted and not all(files):
            raise ValueError(
                f"{encrypted[0]!r} is reached by TLS; name TRAINING_CLUSTER_CA_FILE, TRAINING_CLUSTER_CERTIFICATE_FILE and "
                "TRAINING_CLUSTER_KEY_FILE"
            )
        return self

    @property
    def prices(self) -> Prices:
        return Prices(
            cpu_hour=self.training_price_cpu_hour,
            gigabyte_hour=self.training_price_gb_hour,
            kilowatt_hour=self.training_price_kwh,
            currency=self.training_currency,
        )

    @property
    def encoders(self) -> Path:
        return self.training_encoders_dir or self.millrace_home.resolve() / "encoders"

    @property
    def estimator_modules(self) -> tuple[str, ...]:
        names = (each.strip() for each in self.training_estimator_modules.split(","))
        return tuple(filter(None, names))

    @property
    def database(self) -> str:
        return self.database_of("training", self.training_database_url)
