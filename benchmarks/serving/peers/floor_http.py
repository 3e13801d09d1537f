"""The floor of REST: a bare ASGI app that returns a constant, as long as Millrace's answer. Runs in Millrace's own environment."""

import sys
from typing import Any

import uvicorn

ANSWER = (
    b'{"model_name":"collisions","model_version":"1","id":"00000000-0000-0000-0000-000000000000",'
    b'"outputs":[{"name":"value","datatype":"FP64","shape":[1],"data":[4.020913124084473]}]}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY = {"type": "http.response.body", "body": ANSWER}


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG001  ASGI's signature
    await send(START)
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, lifespan="off", access_log=False)
