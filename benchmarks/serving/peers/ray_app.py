"""A Ray Serve deployment as its documentation writes it. Runs in the environment `ray`: `python ray_app.py PORT FOLDER`."""

import os
import signal
import sys

import numpy as np
import ray
import xgboost
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1)
class Collisions:
    def __init__(self, path: str) -> None:
        self.model = xgboost.XGBRegressor()
        self.model.load_model(path)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        body = await request.json()
        return {"predictions": self.model.predict(np.array(body["rows"])).tolist()}


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        num_cpus=2,
        object_store_memory=200_000_000,
        _temp_dir=sys.argv[2],
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
        logging_config={"enable_access_log": False},
    )
    model = os.environ["BENCH_MODEL"]  # noqa: TID251  runs apart from the benchmark
    serve.run(Collisions.bind(model), route_prefix="/predict")
    sys.stdout.write("serving\n")
    signal.pause()
