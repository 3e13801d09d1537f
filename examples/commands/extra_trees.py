"""A model of one's own as a command: extremely randomized trees, by scikit-learn and skl2onnx.

Allow it where training runs, and name it in the pipeline file:

    TRAINING_COMMANDS='{"extra_trees": ["/opt/venv/bin/python", "/opt/extra_trees.py"]}'

    model:
      candidates: ["command:extra_trees"]
      parameters: {"command:extra_trees": {trees: 100}}

It is started in the folder with `train.parquet` and `job.json`, and leaves `model.onnx` there: docs/models.md.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline


def main() -> None:
    job = json.loads(Path("job.json").read_text())
    rows = pq.read_table("train.parquet")
    names = [column["column"] for column in job["columns"]]
    matrix = np.column_stack([rows[name].to_numpy() for name in names])
    kind = ExtraTreesRegressor if job["label"] == "regression" else ExtraTreesClassifier
    trees = kind(
        n_estimators=int(job["parameters"].get("trees", 50)),
        min_samples_leaf=3,
        random_state=job["seed"],
        n_jobs=job["threads"],
    )
    model = make_pipeline(SimpleImputer(keep_empty_features=True), trees)
    weights = {f"{model.steps[-1][0]}__sample_weight": rows["weight"].to_numpy()}
    model.fit(matrix, rows["label"].to_numpy(), **weights)
    options = {} if job["label"] == "regression" else {id(model): {"zipmap": False}}
    inputs = [("input", FloatTensorType([None, len(names)]))]
    written = to_onnx(model, initial_types=inputs, options=options, target_opset=15)
    Path("model.onnx").write_bytes(written.SerializeToString())


if __name__ == "__main__":
    main()
