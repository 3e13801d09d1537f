"""Training's settings: the one place that reads its environment."""

from pathlib import Path

from pydantic import Field

from millrace_service.settings import PlatformSettings


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
    training_threads: int = Field(default=1, ge=1, description="Threads that one run's fit may use")
    training_fit_seconds: float = Field(
        default=900.0, gt=0, description="How long a fit may take beyond its search's timeout"
    )

    millrace_signing_key_file: Path | None = Field(
        default=None,
        description="Private key that models are signed with: Ed25519, PKCS 8 in PEM, mode 600; "
        "default <home>/keys/signing.pem, made when missing",
    )

    @property
    def database(self) -> str:
        return self.training_database_url or self.database_url or self.sqlite_url("training")
