"""What tritonclient, unmodified, gets from a serving instance: run in an environment of its own, prints one JSON object.

Usage: python ask_with_tritonclient.py HOST HTTP_PORT GRPC_PORT MODEL
"""

import json
import sys

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException


def inputs(module, rows: int, **how):
    """Rows whose first number counts from 0, in several types."""
    arrays = {
        "temp": ("FP32", np.arange(rows, dtype=np.float32)),
        "hum": ("FP16" if how.get("binary_data", True) else "INT64", np.ones(rows)),
        "weather": ("BYTES", np.array([b"rain"] * rows, dtype=object)),
    }
    types = {"FP16": np.float16, "INT64": np.int64}
    made = []
    for name, (datatype, values) in arrays.items():
        tensor = module.InferInput(name, [rows, 1], datatype)
        tensor.set_data_from_numpy(
            values.astype(types.get(datatype, values.dtype)).reshape(rows, 1), **how
        )
        made.append(tensor)
    return made


def told(result) -> dict:
    response = result.get_response()
    if not isinstance(response, dict):
        response = {"id": response.id, "model_version": response.model_version}
    return {
        "value": result.as_numpy("value").tolist(),
        "id": response["id"],
        "version": response["model_version"],
    }


def refusal(ask) -> str:
    try:
        ask()
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    return "not refused"


def by_http(address: str, model: str) -> dict:
    # with one connection, a request that another has sent asynchronously leaves the client waiting for itself, sometimes
    client = over_http.InferenceServerClient(address, concurrency=2)

    def ask(rows: int = 2, how: dict | None = None, output: dict | None = None, **more):
        outputs = [over_http.InferRequestedOutput("value", **output)] if output else None
        tensors = inputs(over_http, rows, **(how or {}))
        return told(client.infer(model, tensors, outputs=outputs, **more))

    compressions = {
        f"{there}/{back}": ask(
            500, request_compression_algorithm=there, response_compression_algorithm=back
        )["value"][-1]
        for there, back in [("gzip", "deflate"), ("deflate", "gzip"), (None, "gzip")]
    }
    later = client.async_infer(model, inputs(over_http, 1), request_id="later")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, "1"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model),
        "binary": ask(request_id="triton-1"),
        "json": ask(how={"binary_data": False}, output={"binary_data": False}),
        "binary_in_json_out": ask(output={"binary_data": False}),
        "json_in_binary_out": ask(how={"binary_data": False}, output={"binary_data": True}),
        "version": ask(model_version="1"),
        "later": told(later.get_result()),
        "compressed": compressions,
        "unknown": refusal(lambda: client.infer("nothing", inputs(over_http, 1))),
        "incomplete": refusal(lambda: client.infer(model, inputs(over_http, 1)[:1])),
        "index": client.get_model_repository_index(),
        "statistics": client.get_inference_statistics(model)["model_stats"][0]["execution_count"],
        "all_statistics": len(client.get_inference_statistics()["model_stats"]),
    }


def by_grpc(address: str, model: str) -> dict:
    client = over_grpc.InferenceServerClient(address)

    def ask(rows: int = 2, **more):
        return told(client.infer(model, inputs(over_grpc, rows), **more))

    def found(message) -> dict:
        return message

    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, "1"),
        "server": found(client.get_server_metadata(as_json=True)),
        "model": found(client.get_model_metadata(model, as_json=True)),
        "binary": ask(request_id="triton-2"),
        "output": ask(outputs=[over_grpc.InferRequestedOutput("value")]),
        "compressed": ask(500, compression_algorithm="gzip")["value"][-1],
        "version": ask(model_version="1"),
        "unknown": refusal(lambda: client.infer("nothing", inputs(over_grpc, 1))),
        "incomplete": refusal(lambda: client.infer(model, inputs(over_grpc, 1)[:1])),
        "index": found(client.get_model_repository_index(as_json=True)),
        "statistics": found(client.get_inference_statistics(model, as_json=True)),
    }


if __name__ == "__main__":
    host, http_port, grpc_port, name = sys.argv[1:]
    json.dump(
        {
            "http": by_http(f"{host}:{http_port}", name),
            "grpc": by_grpc(f"{host}:{grpc_port}", name),
        },
        sys.stdout,
    )
