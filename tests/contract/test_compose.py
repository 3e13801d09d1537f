"""The compose file: valid by the Compose Specification's own schema, and true to the services and their settings.

The schema in `schemas/compose-spec.json` is the specification's (Apache-2.0, licence beside it). No container is started:
what the schema can't say (names that must agree) is checked here.
"""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.json"
PORTS = {
    "ingestion": 8101,
    "features": 8102,
    "training": 8103,
    "registry": 8104,
    "serving": 8105,
    "monitoring": 8106,
}
SQL_SERVICES = ("monitoring", "registry", "training")
READ_BY_OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT"}

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]


def test_it_is_valid_by_the_specification():
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))

    assert [f"{e.instance_path}: {e.message}" for e in validator.iter_errors(COMPOSE)] == []


def test_the_schema_refuses_a_misspelt_key():
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    wrong = {"services": {"kafka": {"image": "kafka", "helthcheck": {}}}}

    assert not validator.is_valid(wrong)


def test_it_has_every_service():
    services = {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")}

    assert services == set(PORTS)
    assert services <= set(CONTAINERS)


@pytest.mark.parametrize("service", PORTS)
def test_a_service_is_built_from_the_one_dockerfile(service: str):
    build = CONTAINERS[service]["build"]

    assert build["args"] == {"SERVICE": service}
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize(("service", "port"), PORTS.items())
def test_a_service_listens_and_is_asked_where_it_is_published(service: str, port: int):
    container = CONTAINERS[service]

    assert container["environment"][f"{service.upper()}_PORT"] == str(port)
    published = f"${{MILLRACE_BIND:-127.0.0.1}}:${{{service.upper()}_PORT:-{port}}}:{port}"
    assert container["ports"][0] == published
    assert len(container["ports"]) == (2 if service == "serving" else 1)
    assert f":{port}/health/ready" in container["healthcheck"]["test"][-1]


def test_serving_is_asked_over_grpc_too():
    container = CONTAINERS["serving"]

    assert container["environment"]["SERVING_GRPC_PORT"] == "8115"
    assert container["ports"][1] == "${MILLRACE_BIND:-127.0.0.1}:${SERVING_GRPC_PORT:-8115}:8115"


@pytest.mark.parametrize("service", PORTS)
def test_a_service_waits_for_what_it_needs(service: str):
    needed = {"kafka", "postgres"} if service in SQL_SERVICES else {"kafka"}

    depends_on = CONTAINERS[service]["depends_on"]

    assert depends_on == {name: {"condition": "service_healthy"} for name in needed}
    assert all("healthcheck" in CONTAINERS[name] for name in needed)


@pytest.mark.parametrize("service", PORTS)
def test_a_service_gets_only_variables_that_it_reads(service: str):
    settings = settings_of(service)
    known = {name.upper() for name in settings.model_fields} | READ_BY_OPENTELEMETRY

    assert set(CONTAINERS[service]["environment"]) - known == set()


@pytest.mark.parametrize("service", SQL_SERVICES)
def test_a_database_of_its_own_is_created(service: str):
    url = CONTAINERS[service]["environment"][f"{service.upper()}_DATABASE_URL"]

    assert url.endswith(f"@postgres:5432/{service}")
    assert f"CREATE DATABASE {service};" in COMPOSE["configs"]["databases"]["content"]


def test_named_volumes_are_declared_and_used():
    used = {
        volume.split(":")[0]
        for container in CONTAINERS.values()
        for volume in container.get("volumes", [])
    }

    assert used == set(COMPOSE["volumes"])


@pytest.mark.parametrize("container", CONTAINERS)
def test_images_have_a_version_and_ports_stay_on_this_machine(container: str):
    tag = CONTAINERS[container]["image"].rpartition(":")[2]

    assert re.match(r"\d", tag)
    for port in CONTAINERS[container].get("ports", []):
        assert port.startswith("${MILLRACE_BIND:-127.0.0.1}:")


def test_kafka_is_the_one_that_runs_without_containers():
    version = re.search(r"<version>(4[^<]+)</version>", (ROOT / "infra/kafka/pom.xml").read_text())

    assert version
    assert CONTAINERS["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_the_dockerfile_copies_what_exists_and_is_not_ignored():
    dockerfile = (ROOT / "infra/docker/service.Dockerfile").read_text()
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / "infra/docker/service.Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = {
        word.partition("/${SERVICE}")[0]
        for copied in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for word in copied.split()[:-1]
    }

    assert sources <= allowed
    assert all((ROOT / source).exists() for source in sources)


def settings_of(service: str) -> type[BaseSettings]:
    module = importlib.import_module(f"millrace_{service}.settings")
    (settings,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, BaseSettings)
        and value.__module__ == module.__name__
    )
    return settings


@pytest.mark.parametrize(
    ("service", "mode"), [("training", ""), ("registry", ":ro"), ("serving", ":ro")]
)
def test_who_checks_signatures_gets_the_public_keys_and_only_training_writes_them(
    service: str, mode: str
):
    container = CONTAINERS[service]
    home = container["environment"]["MILLRACE_HOME"]

    assert f"trusted-keys:{home}/keys/trusted{mode}" in container["volumes"]
    assert "MILLRACE_TRUSTED_KEYS" not in container["environment"]  # it would name another folder


@pytest.mark.parametrize("service", sorted(set(PORTS) - {"training"}))
def test_nobody_else_gets_the_private_half(service: str):
    private = next(v for v in CONTAINERS["training"]["volumes"] if v.endswith(":/var/lib/millrace"))

    assert private not in CONTAINERS[service]["volumes"]
