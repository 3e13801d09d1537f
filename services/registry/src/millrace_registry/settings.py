"""The registry's settings: the one place that reads its environment."""

from pydantic import Field

from millrace_service.settings import PlatformSettings


class Settings(PlatformSettings):
    """Every name is an environment variable in capitals."""

    registry_port: int = Field(default=8104, description="Port of the registry's HTTP")
    registry_database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; default DATABASE_URL, or SQLite under <home>/registry",
    )

    @property
    def database(self) -> str:
        return self.database_of("registry", self.registry_database_url)
