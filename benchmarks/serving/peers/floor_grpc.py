"""The floor of gRPC: a bare grpc.aio server that returns constant bytes, nothing parsed. Runs in Millrace's own environment."""

import sys
from typing import Any

import grpc
import uvloop

ANSWER = bytes(120)


async def answer(request: bytes, context: Any) -> bytes:  # noqa: ANN401, ARG001  grpc's signature
    return ANSWER


async def main(port: int) -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    service = "inference.GRPCInferenceService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"ModelInfer": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
