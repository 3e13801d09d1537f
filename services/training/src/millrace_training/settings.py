"""Training's settings: the one place that reads its environment."""

from pathlib import Path

from pydantic import Field

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

    @property
    def prices(self) -> Prices:
        return Prices(
            cpu_hour=self.training_price_cpu_hour,
            gigabyte_hour=self.training_price_gb_hour,
            kilowatt_hour=self.training_price_kwh,
            currency=self.training_currency,
        )

    @property
    def estimator_modules(self) -> tuple[str, ...]:
        names = (each.strip() for each in self.training_estimator_modules.split(","))
        return tuple(filter(None, names))

    @property
    def database(self) -> str:
        return self.training_database_url or self.database_url or self.sqlite_url("training")
