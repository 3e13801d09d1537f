"""What is written and printed: serving.json and a table."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.serving.contenders import Contender
from benchmarks.serving.environments import pins_of
from benchmarks.serving.figures import Goal, Json, Turns, contender_figures
from benchmarks.serving.load import CONNECTIONS
from benchmarks.serving.rounds import Answers, Plan
from benchmarks.serving.settings import LOAD_CORE, SERVER_CORE
from benchmarks.serving.workload import DEPTH, FEATURES, TREES

_OURS = ("grpcio", "numpy", "onnxruntime", "uvicorn", "uvloop", "xgboost-cpu")
_TOOLS = (("wrk", "-v"), ("h2load", "--version"))
_PEERS = {
    "fastapi": ("fastapi", "pydantic", "uvicorn", "xgboost-cpu"),
    "mlserver": ("mlserver", "mlserver-xgboost", "xgboost"),
    "mlflow": ("mlflow", "xgboost-cpu"),
    "bentoml": ("bentoml", "xgboost-cpu"),
    "ray": ("ray", "xgboost-cpu"),
}


def report(
    contenders: Sequence[Contender],
    turns: Turns,
    skipped: Mapping[str, str],
    answers: Answers,
    judged: Sequence[Goal],
    plan: Plan,
) -> Json:
    """What `serving.json` holds."""
    figures = {
        contender.name: {"title": contender.title}
        | contender_figures(turns, contender.name, contender.protocol)
        for contender in contenders
        if contender.name in turns
    }
    return {
        "model": {"trees": TREES, "depth": DEPTH, "features": FEATURES, "rows_per_request": 1},
        "method": _method(plan),
        "machine": machine(),
        "versions": versions(contenders),
        "goals": [asdict(goal) for goal in judged],
        "logged": asdict(answers),
        "skipped": dict(skipped),
        "contenders": figures,
    }


def _method(plan: Plan) -> Json:
    return {
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "warm_up_seconds": plan.warm_seconds,
        "order": "every contender in turn, round after round, each time started anew, alone on its core",
        "server_core": SERVER_CORE,
        "load_generator_core": LOAD_CORE,
        "load_generator_priority": " ".join(plan.priority) or "as everything else",
        "kafka_core": LOAD_CORE,
        "rest_load": "wrk, one thread, one connection per request under way, 100 different rows in turn",
        "grpc_load": f"h2load, one thread, at most {CONNECTIONS} connections, one row",
        "half_rate_load": "a paced client of this benchmark, constant rate, latency from when a request was due",
        "cpu": "user and system time of all processes of the server, from /proc; Kafka's is given apart",
    }


def machine() -> Json:
    """The processor, the kernel, the memory."""
    information = Path("/proc/cpuinfo").read_text().splitlines()
    models = {
        line.partition(":")[2].strip() for line in information if line.startswith("model name")
    }
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": ", ".join(sorted(models)),
        "cores": sum(line.startswith("processor") for line in information),
        "memory_gb": round(int(memory) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions(contenders: Sequence[Contender]) -> Json:
    result: Json = {"millrace": {name: version(name) for name in _OURS}}
    for name in dict.fromkeys(one.environment for one in contenders if one.environment):
        pins = pins_of(name)
        result[name] = {package: pins[package] for package in _PEERS[name]}
    for tool in _TOOLS:
        answer = subprocess.run(tool, capture_output=True, text=True, check=False)
        result[tool[0]] = (answer.stdout + answer.stderr).splitlines()[0].strip()
    return result


def table(result: Json) -> str:
    """Everything in lines of text, the goals last."""
    lines = [
        f"{'':22s}{'at once':>8s}{'requests/s':>12s}{'CPU us':>10s}{'x floor':>9s}{'p50 ms':>10s}{'p99 ms':>10s}"
    ]
    for figures in result["contenders"].values():
        for level, found in figures["concurrency"].items():
            against = found["cpu_vs_floor"]
            lines.append(
                f"{figures['title']:22s}{level:>8s}{found['requests_per_second']:12,.0f}{found['cpu_us_per_request']:10,.1f}"
                f"{'' if against is None else f'{against:.2f}':>9s}{found['p50_ms']:10.3f}{found['p99_ms']:10.3f}"
                + (f"   {found['errors']} errors" if found["errors"] else "")
            )
    for name, why in result["skipped"].items():
        lines.append(f"{name}: left out: {why.splitlines()[0]}")
    lines.append("")
    for goal in result["goals"]:
        found = "not measured" if goal["found"] is None else f"{goal['found']:.2f}"
        verdict = {True: "met", False: "NOT MET", None: ""}[goal["met"]]
        lines.append(f"{goal['text']:55s}{goal['wanted']:6g}{found:>14s}   {verdict}")
    return "\n".join(lines)
