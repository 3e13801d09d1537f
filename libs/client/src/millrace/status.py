"""What `millrace status` says: processes, pipelines, and how well they do."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from millrace.output import console, number, say, table
from millrace.settings import SERVICES, Settings
from millrace.supervisor import plan, stack_file
from millrace.supervisor.stack_file import ProcessState
from millrace.web import get_if_there
from millrace_local.kafka import LocalKafka
from millrace_local.zipkin import LocalZipkin

Row = dict[str, Any]


def collect(settings: Settings) -> Row:
    """Everything in one value, as `-o json` prints it."""
    stack = stack_file.read(settings.stack_file)
    with ThreadPoolExecutor() as pool:
        processes = list(
            pool.map(lambda p: _process(settings, p), stack.processes if stack else ())
        )
        known = get_if_there(settings, "registry", "/v1/pipelines") or []
        pipelines = list(pool.map(lambda each: _pipeline(settings, each), known))
    return {
        "home": str(settings.home),
        "running": stack is not None and stack.lives,
        "supervisor": asdict(stack.supervisor) if stack else None,
        "tracing_ui": stack.tracing_ui if stack else None,
        "processes": processes,
        "pipelines": pipelines,
    }


def render(report: Mapping[str, Any]) -> None:
    if report["processes"]:
        columns = {
            "name": "process",
            "pid": "pid",
            "ready": "ready",
            "restarts": "restarts",
            "started": "up since",
            "address": "address",
        }
        console.print(table(report["processes"], columns))
    if not report["running"]:
        say(f"No stack of {report['home']} runs; start one with `millrace up --detach`.")
    if report["pipelines"]:
        columns = {
            "name": "pipeline",
            "version": "file",
            "champion": "champion",
            "epoch": "epoch",
            "labelled": "labelled",
            "quality": "newest window",
            "overall": "since the first champion",
            "drifts": "drifts now",
            "alerts": "alerts",
        }
        console.print()
        console.print(table([_short(each) for each in report["pipelines"]], columns))


def is_ready(settings: Settings, process: ProcessState) -> bool:
    """Whether it answers at its own address."""
    if not process.lives:
        return False
    if process.name in SERVICES:
        return plan.answers_ready(process.address, 1.0)
    server: LocalKafka | LocalZipkin
    if process.name == "kafka":
        server = LocalKafka(settings.home, process.port, controller_port=0, jars=settings.home)
    else:
        server = LocalZipkin(process.port, jar=settings.home)
    return server.ready(0.0)


def _process(settings: Settings, process: ProcessState) -> Row:
    return {
        "name": process.name,
        "pid": process.process.pid if process.lives and process.process else None,
        "ready": is_ready(settings, process),
        "restarts": process.restarts,
        "started": process.started,
        "port": process.port,
        "address": process.address,
        "log": process.log,
    }


def _pipeline(settings: Settings, known: Mapping[str, Any]) -> Row:
    """What the registry decided and what monitoring measures; null where monitoring is away."""
    watched = get_if_there(settings, "monitoring", f"/v1/pipelines/{known['name']}/status")
    return dict(known) | {"monitoring": watched}


def _short(pipeline: Mapping[str, Any]) -> Row:
    watched = pipeline["monitoring"] or {}
    quality = watched.get("last_quality") or {}
    overall = watched.get("overall") or {}
    return {
        "name": pipeline["name"],
        "version": pipeline["version"],
        "champion": pipeline["champion"],
        "epoch": pipeline["epoch"],
        "labelled": overall.get("events"),
        "quality": _metrics(quality.get("metrics")),
        "overall": _metrics(overall.get("metrics")),
        "drifts": _drifts(watched.get("drifts", ())),
        "alerts": len(watched.get("alerts", ())),
    }


def _metrics(metrics: Mapping[str, float] | None) -> str | None:
    return (
        " ".join(f"{name} {number(value)}" for name, value in metrics.items()) if metrics else None
    )


def _drifts(drifts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['subject']} {number(each['statistic'])}" for each in drifts) or "none"
