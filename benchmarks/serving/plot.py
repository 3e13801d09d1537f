"""serving.json as a picture: processor time per request and requests per second, the floors marked."""

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from benchmarks.serving.figures import GRPC, MILLRACE, MILLRACE_GRPC, REST, Json
from matplotlib import pyplot
from matplotlib.axes import Axes

_OURS, _OTHERS, _BASE = "#1f6f8b", "#b8b8b8", "#6d6d6d"
_TITLES = {REST: "REST", GRPC: "gRPC"}


def draw(result: Json, path: Path) -> None:
    """A row of axes per protocol, at the highest concurrency."""
    protocols = [
        protocol
        for protocol in (REST, GRPC)
        if any(one["protocol"] == protocol for one in result["contenders"].values())
    ]
    mpl.rcParams["svg.hashsalt"] = "millrace"  # the same figures give the same bytes
    heights = [
        1.6 + 0.4 * sum(one["protocol"] == protocol for one in result["contenders"].values())
        for protocol in protocols
    ]
    figure, axes = pyplot.subplots(
        len(protocols), 2, figsize=(11, sum(heights)), squeeze=False, height_ratios=heights
    )
    for row, protocol in zip(axes, protocols, strict=True):
        _dots(row[0], result, protocol, "cpu_us_per_request", "CPU per request, µs")
        _dots(row[1], result, protocol, "requests_per_second", "requests per second")
    figure.suptitle("One core, single rows, one XGBoost model; Millrace logs every answer to Kafka")
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _dots(axes: Axes, result: Json, protocol: str, figure: str, title: str) -> None:
    every = {name: one for name, one in result["contenders"].items() if one["protocol"] == protocol}
    level = max(map(int, next(iter(every.values()))["concurrency"]))
    found = {name: one["concurrency"][str(level)] for name, one in every.items()}
    titles = [one["title"] for one in every.values()]
    values = [one[figure] for one in found.values()]
    spreads = [one["spread"][figure] for one in found.values()]
    reach = [
        [value - one["least"] for value, one in zip(values, spreads, strict=True)],
        [one["most"] - value for value, one in zip(values, spreads, strict=True)],
    ]
    places = range(len(values))
    axes.errorbar(values, places, xerr=reach, fmt="none", ecolor=_BASE, linewidth=1)
    axes.scatter(values, places, color=[_colour(name) for name in every], s=45, zorder=2)
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:,.0f}",
            (value, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(places, titles)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(_decade(min(values), math.floor), _decade(max(values), math.ceil))
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.set_title(f"{_TITLES[protocol]}, {level} at once: {title}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _decade(value: float, rounded: Callable[[float], int]) -> float:
    """The power of ten below or above, some way off so that nothing stands on the edge."""
    return 10.0 ** rounded(math.log10(value * (1.3 if rounded is math.ceil else 0.8)))


def _colour(name: str) -> str:
    if name in (MILLRACE, MILLRACE_GRPC):
        return _OURS
    return _BASE if name.startswith("floor") else _OTHERS
