"""What KServe's client, unmodified, gets from a serving instance: run in an environment of its own, prints one JSON object.

Usage: python ask_with_kserve.py HOST HTTP_PORT GRPC_PORT MODEL
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def question(model: str, *, binary: bool, identity: str) -> InferRequest:
    arrays = {
        "temp": ("FP32", np.array([0, 1], dtype=np.float32)),
        "hum": ("FP64", np.array([0.5, 0.5])),
        "weather": ("BYTES", np.array([b"rain", b"sun"], dtype=object)),
    }
    tensors = []
    for name, (datatype, values) in arrays.items():
        tensor = InferInput(name, [2], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        tensors.append(tensor)
    return InferRequest(model, tensors, request_id=identity)


def told(response) -> dict:
    [output] = response.outputs
    return {
        "value": output.as_numpy().tolist(),
        "id": response.id,
        "version": response.model_version,
    }


async def refusal(asking) -> str:
    try:
        await asking
    except Exception as error:  # noqa: BLE001  whatever the client raises
        return f"{type(error).__name__}: {error}"
    return "not refused"


async def by_http(address: str, model: str) -> dict:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:

        async def ask(name: str = model, *, binary: bool = False):
            data = question(name, binary=binary, identity="kserve-1")
            return await client.infer(address, data, model_name=name)

        return {
            "live": await client.is_server_live(address),
            "ready": await client.is_server_ready(address),
            "model_ready": await client.is_model_ready(address, model),
            "json": told(await ask()),
            "binary": told(await ask(binary=True)),
            "unknown": await refusal(ask("nothing")),
        }


async def by_grpc(address: str, model: str) -> dict:
    async with InferenceGRPCClient(address) as client:

        async def ask(name: str = model, *, binary: bool = True):
            return await client.infer(question(name, binary=binary, identity="kserve-2"))

        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(model),
            "raw": told(await ask()),
            "typed": told(await ask(binary=False)),
            "unknown": await refusal(ask("nothing")),
        }


async def main(host: str, http_port: str, grpc_port: str, model: str) -> None:
    answers = {
        "http": await by_http(f"http://{host}:{http_port}", model),
        "grpc": await by_grpc(f"{host}:{grpc_port}", model),
    }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
