"""Monitoring's settings: the one place that reads its environment."""

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    monitoring_port: int = Field(default=8106, description="Port of monitoring's HTTP")
    monitoring_database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; default DATABASE_URL, else SQLite under <home>/monitoring",
    )

    @property
    def database(self) -> str:
        return self.database_of("monitoring", self.monitoring_database_url)
