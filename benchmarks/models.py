"""Many models in one serving process: registered, hot, cold, and swapped under load.

    python -m benchmarks.models          or, smaller,    python -m benchmarks.models --registered 2000 --hot 100

The real service in one process, on a broker in memory (which forgets predictions) and artifacts in a file:// object
store; requests go through the ASGI app. Every model is XGBoost's, exported as training does it, and every pipeline that
is asked has an artifact of its own. In turn:

- history of so many pipelines and promotions is read: seconds, memory, models loaded;
- the hot ones are asked for the first time, one after the other: a cold start each, from the object store to the answer;
- the hot ones are asked over and over, without and with cold starts beside them;
- one pipeline is promoted and rolled back so many times while it is asked: every answer must name the version that it
  betrays, none may fail, and the memory must stay flat.

Wall-clock figures are worth nothing on a machine that does something else; `busy` says how much of the time this process
had a processor. Prints JSON, and adds it to results/models.json.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import xgboost
from starlette.types import ASGIApp, Message

from millrace_artifacts.artifact import Artifact, Learnt, Model, Parity, write_artifact
from millrace_artifacts.keys import local_key
from millrace_artifacts.seal import Statement, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import TopicPartition
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant, rfc3339
from millrace_proto.v1 import models_pb2, pipelines_pb2
from millrace_serving.bootstrap import Parts, assemble
from millrace_serving.entrypoints.http import app
from millrace_serving.entrypoints.worker import components
from millrace_serving.settings import Settings
from millrace_testkit.eventually import running
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.fitting.xgboost_models import FittedXgboost

RESULTS = Path(__file__).parent / "results" / "models.json"
NOON = Instant(1_764_000_000_000_000)
STEP = 10_000.0  # a version's answers begin at its number times this: an answer tells who gave it
WIDTH, TREES, DEPTH = 28, 100, 6
NAMES = tuple(f"f{place}" for place in range(WIDTH))
FILE = f"""
metadata: {{name: NAME}}
spec:
  event:  {{id: id, time: at}}
  fields: {{{", ".join(f"{name}: float" for name in NAMES)}}}
  label:  {{field: y, kind: regression}}
"""
MODELS, PIPELINES = "millrace.models", "millrace.pipelines"
ALLOWED_GROWTH = 16 << 20  # bytes, of 900 swaps: less than 18 KB each, where a model takes 2 MB
SEED = 7


class Forgetful(MemoryBroker):
    """Takes predictions, and does not keep them: the memory that is measured is serving's."""

    def append(self, place: TopicPartition, messages: Sequence[Outgoing]) -> None:  # type: ignore[override]
        if place.topic in (MODELS, PIPELINES):
            super().append(place, messages)


class Shop:
    """Makes artifacts, and what is written about them to the bus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(f"file://{folder / 'objects'}")
        self.broker = Forgetful()
        self._key = local_key(folder / "keys")
        self._fitted = {version: _fitted(version) for version in (1, 2)}
        self._exported = {
            version: (fitted.onnx(), fitted.native()) for version, fitted in self._fitted.items()
        }
        self._spec = pipeline_to_json(read_pipeline(FILE.replace("NAME", "pipeline"), version=1))
        self._written = 0

    async def apply(self, names: Sequence[str]) -> None:
        protos = [
            pipelines_pb2.PipelineApplied(
                pipeline=name, version=1, spec_json=self._spec.replace('"pipeline"', f'"{name}"', 1)
            )
            for name in names
        ]
        await self._send(PIPELINES, "PipelineApplied", names, protos)

    async def promote(self, names: Sequence[str], version: int, epoch: int, *, made: bool) -> None:
        """`made`: with an artifact; without, nobody may ask for it."""
        protos = [self._promotion(name, version, epoch, made=made) for name in names]
        await self._send(MODELS, "ModelPromoted", names, protos)

    async def roll_back(self, name: str, version: int, epoch: int) -> None:
        promoted = self._promotion(name, version, epoch, made=True)
        fields = {field.name: value for field, value in promoted.ListFields()}
        known = models_pb2.ModelRolledBack.DESCRIPTOR.fields_by_name
        proto = models_pb2.ModelRolledBack(
            **{field: value for field, value in fields.items() if field in known},
            previous_version=3 - version,
        )
        await self._send(MODELS, "ModelRolledBack", [name], [proto])

    def _promotion(
        self, name: str, version: int, epoch: int, *, made: bool
    ) -> models_pb2.ModelPromoted:
        if made:
            stored = self.store.put(f"models/{name}-{version}.zip", self.artifact(name, version))
            uri, sha256 = stored.uri, stored.sha256
        else:
            uri, sha256 = f"{self.store.url}/models/{name}-{version}.zip", "0" * 64
        seal = sealed(Statement(name, 1, f"run-{version}", sha256), self._key)
        return models_pb2.ModelPromoted(
            pipeline=name,
            pipeline_version=1,
            version=version,
            epoch=epoch,
            run_id=f"run-{version}",
            artifact_uri=uri,
            artifact_sha256=sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
        )

    def artifact(self, name: str, version: int) -> bytes:
        """All that training ships: the model in both forms, and the measured one beside it."""
        signature = Signature(
            name, 1, NAMES, (), (), Encoding.ORDINAL, LabelKind.REGRESSION, classes=()
        )
        onnx, native = self._exported[version]
        model = Model(signature, Parity(0.0, 1e-3, 10), onnx, native)
        return write_artifact(
            Artifact(
                algorithm="xgboost",
                parameters="{}",
                model=model,
                measured=replace(model, native=None),
                metrics={"mae": 1.0},
                learnt=Learnt(1_000, 1, 3, 100, 2),
                libraries={},
                examples=(),
            )
        )

    async def _send(
        self, topic: str, kind: str, keys: Sequence[str], protos: Sequence[object]
    ) -> None:
        records = []
        for key, proto in zip(keys, protos, strict=True):
            self._written += 1
            headers = [
                ("ce_id", f"m{self._written}".encode()),
                ("ce_source", b"millrace/benchmark"),
                ("ce_type", f"millrace.v1.{kind}".encode()),
                ("ce_sequence", b"%016d" % self._written),
                ("ce_recordedtime", rfc3339(NOON).encode()),
            ]
            value = proto.SerializeToString()  # type: ignore[attr-defined]
            records.append(Outgoing(topic, key.encode(), value, headers))
        self.broker.append(TopicPartition(topic, 0), records)


def _fitted(version: int) -> FittedXgboost:
    generator = np.random.default_rng(SEED)
    matrix = generator.normal(size=(4_000, WIDTH)).astype(np.float32)
    targets = version * STEP + matrix[:, 0] * 3 + np.sin(3 * matrix[:, 1]) * matrix[:, 2]
    settings = {
        "max_depth": DEPTH,
        "tree_method": "hist",
        "nthread": 1,
        "base_score": version * STEP,
    }
    booster = xgboost.train(settings, xgboost.QuantileDMatrix(matrix, targets), TREES)
    return FittedXgboost(booster, WIDTH)


class Client:
    """Asks the app, without a network between."""

    def __init__(self, asgi: ASGIApp) -> None:
        self._asgi = asgi
        data = np.random.default_rng(SEED).normal(size=WIDTH).tolist()
        tensor = {"name": "features", "datatype": "FP64", "shape": [1, WIDTH], "data": data}
        self._body = orjson.dumps({"inputs": [tensor]})

    async def ask(self, name: str) -> tuple[float, int]:
        """Seconds, and the version that answered. Raises AssertionError for a failure or another version's answer."""
        status, body = 0, b""

        async def receive() -> Message:
            return {"type": "http.request", "body": self._body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/v2/models/{name}/infer",
            "headers": [(b"content-type", b"application/json")],
        }
        began = time.perf_counter()
        await self._asgi(scope, receive, send)
        seconds = time.perf_counter() - began
        assert status == 200, (name, status, body)
        answer = orjson.loads(body)
        betrayed = round(answer["outputs"][0]["data"][0] / STEP)
        assert answer["model_version"] == str(betrayed), answer
        return seconds, betrayed


async def over_and_over(client: Client, names: Sequence[str], count: int) -> list[float]:
    """Ask in a random order; the loop gets its turn after each answer."""
    chosen = np.random.default_rng(SEED).choice(names, count).tolist()
    seconds = []
    for name in chosen:
        seconds.append((await client.ask(name))[0])
        await asyncio.sleep(0)
    return seconds


async def registered_and_hot(
    options: argparse.Namespace, parts: Parts, client: Client
) -> dict[str, object]:
    """Cold starts, hot requests, and both at once."""
    hot = [f"p{number}" for number in range(options.hot)]
    spare = [f"p{options.hot + number}" for number in range(options.cold)]
    await client.ask(spare[0])  # what the process does once: it imports ONNX Runtime
    before = rss()
    cold, worked = [], []
    for name in hot:
        began = time.process_time()
        cold.append((await client.ask(name))[0])
        worked.append(time.process_time() - began)
    gc.collect()
    report: dict[str, object] = {
        "cold_start": _quantiles(cold),
        "cold_start_processor": _quantiles(worked),
        "rss_mb_all_hot": _megabytes(rss()),
        "hot_in_memory": parts.deployments.hot,
        "mb_per_model_measured": round((rss() - before) / len(hot) / 1e6, 2),
        "mb_per_model_estimated": round(parts.deployments.bytes / parts.deployments.hot / 1e6, 2),
    }
    await over_and_over(client, hot, len(hot))
    report["hot"] = _quantiles(await over_and_over(client, hot, options.requests))
    waiting = asyncio.create_task(_one_after_the_other(client, spare[1:], options.pause))
    report["hot_beside_cold_starts"] = _quantiles(
        await over_and_over(client, hot, options.requests)
    )
    waiting.cancel()
    report["cold_starts_beside"] = _quantiles(await waiting or [0.0])
    return report


async def _one_after_the_other(client: Client, names: Sequence[str], pause: float) -> list[float]:
    """Cold starts until cancelled."""
    seconds: list[float] = []
    try:
        for name in names:
            seconds.append((await client.ask(name))[0])
            await asyncio.sleep(pause)
    except asyncio.CancelledError:
        pass
    return seconds


class Asking:
    """Eight clients that ask one pipeline until told to stop, and count who answers."""

    def __init__(self, client: Client, name: str) -> None:
        self.answers = {1: 0, 2: 0}
        self._client, self._name = client, name
        self._is_over = False
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(8)]

    async def _ask(self) -> None:
        while not self._is_over:
            _, version = await self._client.ask(self._name)
            self.answers[version] += 1
            await asyncio.sleep(0.001)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for it. Raises what a client raised."""
        while not is_so():
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.0005)

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


async def swapped(swaps: int, shop: Shop, parts: Parts, client: Client) -> dict[str, object]:
    """Promote and roll back in turn while clients ask; memory after 100 against the end."""
    name = PipelineName("swapped")
    await shop.apply([name])
    await shop.promote([name], 1, 1, made=True)
    # the fallback answers before, and its answer would betray no version
    await asyncio.wait_for(_hot(parts, name), timeout=60)
    asking, early = Asking(client, name), 0
    for epoch in range(2, swaps + 2):
        if epoch % 2 == 0:
            await shop.promote([name], 2, epoch, made=True)
        else:
            await shop.roll_back(name, 1, epoch)
        await asking.until(lambda epoch=epoch: parts.deployments.champions(name)[0].epoch == epoch)
        if epoch == 101:
            gc.collect()
            early = rss()
    await asking.stop()
    gc.collect()
    grown = rss() - early if early else 0
    if grown > ALLOWED_GROWTH:
        raise SystemExit(f"memory grew by {grown} bytes; {ALLOWED_GROWTH} are allowed")
    return {
        "swaps": swaps,
        "answers": sum(asking.answers.values()),
        "by_version": list(asking.answers.values()),
        "failed": 0,
        "of_another_version": 0,
        "rss_mb_after_100": _megabytes(early),
        "rss_mb_grown": round(grown / 1e6, 2),
        "rss_mb_allowed": _megabytes(ALLOWED_GROWTH),
    }


async def _hot(parts: Parts, name: PipelineName) -> None:
    while not parts.deployments.is_hot(name):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.001)


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    shop = Shop(folder)
    await ensure_topics(shop.broker)
    names = [f"p{number}" for number in range(options.registered)]
    asked = options.hot + options.cold
    await shop.apply(names)
    await shop.promote(names[:asked], 1, 1, made=True)
    await shop.promote(names[asked:], 1, 1, made=False)
    gc.collect()
    empty = rss()
    settings = Settings(
        millrace_home=folder,
        object_store_url=shop.store.url,
        serving_state_dir=folder / "state",
        serving_model_bytes=options.model_bytes,
        serving_loaded_at_start=0,
        state_snapshot_seconds=0,
    )
    parts = assemble(settings, broker=shop.broker)
    client = Client(app(parts, lambda: True))
    began, worked = time.perf_counter(), time.process_time()
    report: dict[str, object] = {
        "registered": options.registered,
        "hot": options.hot,
        "model": f"XGBoost, {TREES} trees of depth {DEPTH}, {WIDTH} features",
        "artifact_kb": round(len(shop.artifact("p0", 1)) / 1e3),
        "model_bytes_setting": options.model_bytes,
        "rss_mb_before": _megabytes(empty),
    }
    async with running(*components(parts)):
        report["after_history"] = {
            "seconds": round(time.perf_counter() - began, 1),
            "processor_seconds": round(time.process_time() - worked, 1),
            "models_loaded": parts.deployments.hot,
            "rss_mb": _megabytes(rss()),
        }
        report |= await registered_and_hot(options, parts, client)
        if options.swaps:
            report["swapping"] = await swapped(options.swaps, shop, parts, client)
    report["busy"] = round((time.process_time() - worked) / (time.perf_counter() - began), 2)
    report["load_average"] = os.getloadavg()
    return report


def rss() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _megabytes(size: int) -> int:
    return round(size / 1e6)


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    p50, p99, most = np.quantile(seconds, [0.5, 0.99, 1.0]) * 1e3
    return {
        "count": len(seconds),
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "max_ms": round(most, 3),
    }


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Many models in one serving process")
    parser.add_argument("--registered", type=int, default=20_000)
    parser.add_argument("--hot", type=int, default=1_000)
    parser.add_argument("--cold", type=int, default=500, help="cold starts beside hot requests")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between cold starts")
    parser.add_argument("--requests", type=int, default=20_000, help="to hot ones, in each part")
    parser.add_argument("--swaps", type=int, default=1_000)
    parser.add_argument("--model-bytes", type=int, default=2_700_000_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    options = options_of()
    with tempfile.TemporaryDirectory(prefix="millrace-models-") as folder:
        report = asyncio.run(measure(options, Path(folder)))
    text = json.dumps(report, indent=1)
    options.results.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
