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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.models.asking import Asking, Client, one_after_the_other, over_and_over
from benchmarks.models.shop import DEPTH, TREES, WIDTH, Shop

from millrace_bus.topology import ensure_topics
from millrace_kernel.ids import PipelineName
from millrace_serving.bootstrap import Parts, assemble
from millrace_serving.entrypoints.http import app
from millrace_serving.entrypoints.worker import components
from millrace_serving.settings import Settings
from millrace_testkit.eventually import running

RESULTS = Path(__file__).parents[1] / "results" / "models.json"
ALLOWED_GROWTH = 16 << 20  # bytes, of 900 swaps: less than 18 KB each, where a model takes 2 MB


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
    waiting = asyncio.create_task(one_after_the_other(client, spare[1:], options.pause))
    report["hot_beside_cold_starts"] = _quantiles(
        await over_and_over(client, hot, options.requests)
    )
    waiting.cancel()
    report["cold_starts_beside"] = _quantiles(await waiting or [0.0])
    return report


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
