"""Clients that ask for answers, and see whose they are."""

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
import orjson
from benchmarks.models.shop import SEED, STEP, WIDTH
from starlette.types import ASGIApp, Message


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


async def one_after_the_other(client: Client, names: Sequence[str], pause: float) -> list[float]:
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
