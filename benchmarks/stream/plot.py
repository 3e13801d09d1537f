"""The figures as a picture: processor time per event, and latency."""

from pathlib import Path

import matplotlib as mpl
from benchmarks.stream.figures import Json

mpl.use("Agg")
from matplotlib import pyplot

_INK = "#3b6ea5"


def draw(result: Json, path: Path) -> None:
    """An SVG, the same bytes for the same figures."""
    mpl.rcParams["svg.hashsalt"] = "millrace"
    found = result["contenders"]
    names = list(found)
    titles = [found[name]["title"] for name in names]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
    rates = [found[name]["one_core"]["events_per_cpu_second"] for name in names]
    _bars(left, titles, rates)
    left.set_xlabel("events per second and core used")
    paced = [name for name in names if "p99_ms" in found[name]]
    _bars(
        right, [found[name]["title"] for name in paced], [found[name]["p99_ms"] for name in paced]
    )
    right.set_xlabel(f"p99 in ms at {result['rate']:.0f} events/s")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axes: object, titles: list[str], spreads: list[Json]) -> None:
    middle = [one["median"] for one in spreads]
    below = [one["median"] - one["least"] for one in spreads]
    above = [one["most"] - one["median"] for one in spreads]
    axes.barh(titles, middle, xerr=[below, above], color=_INK, capsize=3)  # type: ignore[attr-defined]
    axes.invert_yaxis()  # type: ignore[attr-defined]
    axes.spines[["top", "right"]].set_visible(False)  # type: ignore[attr-defined]
