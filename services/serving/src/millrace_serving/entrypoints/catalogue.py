"""What HTTP and gRPC both tell of the server and its models, in the protocol's shapes."""

from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Computation, Span, Statistics, Tally
from millrace_serving.domain.outputs import Json

VERSION = "0.1.0"
EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")


class Catalogue:
    """The models of this instance."""

    def __init__(self, pipelines: Pipelines, inference: Inference, statistics: Statistics) -> None:
        self._pipelines = pipelines
        self._inference = inference
        self._statistics = statistics

    def index(self, *, ready_only: bool) -> list[Json]:
        """An entry for each version that can be asked, and one for each model that can't be."""
        return [
            entry
            for name in self._pipelines.names()
            for entry in self._entries(name)
            if entry["state"] == "READY" or not ready_only
        ]

    def _entries(self, name: str) -> list[Json]:
        if not self._inference.is_ready(name, None):
            reason = "it has no champion yet, and no fallback"
            return [{"name": name, "version": "0", "state": "UNAVAILABLE", "reason": reason}]
        return [
            {"name": name, "version": version, "state": "READY", "reason": ""}
            for version in self._versions(name)
        ]

    def _versions(self, name: str) -> list[str]:
        """Those that can be asked by number; the fallback, which answers before the first, calls itself 0."""
        return self._inference.versions(name) or ["0"]

    def statistics(self, name: str | None = None, version: str | None = None) -> Json:
        """Of a version, of a model's versions, or of all. Raises UnknownModelError."""
        asked: list[tuple[str, str]]
        if name is None:
            asked = [
                (name, version)
                for name in self._pipelines.names()
                for version in self._versions(name)
            ]
        elif version is None:
            asked = [(name, version) for version in self._versions(name)]
        else:
            self._inference.is_ready(name, version)  # raises for what is not there
            asked = [(name, version)]
        return {"model_stats": [_model(*one, self._statistics.read(*one)) for one in asked]}


def _model(name: str, version: str, tally: Tally) -> Json:
    compute = tally.compute
    return {
        "name": name,
        "version": version,
        "last_inference": tally.last_inference // 1_000,  # milliseconds since the epoch
        "inference_count": tally.inferences,
        "execution_count": tally.executions,
        "inference_stats": {
            "success": _span(tally.success),
            "fail": _span(tally.fail),
            "queue": _span(tally.queue),
            **_computation(compute),
        },
        "batch_stats": [
            {"batch_size": size, **_computation(batch)}
            for size, batch in sorted(tally.batches.copy().items())
        ],
    }


def _computation(compute: Computation) -> Json:
    return {
        "compute_input": _span(compute.input),
        "compute_infer": _span(compute.infer),
        "compute_output": _span(compute.output),
    }


def _span(span: Span) -> Json:
    return {"count": span.count, "ns": span.ns}
