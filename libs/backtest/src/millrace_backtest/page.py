"""The report as one HTML file with its plots in it: no script, nothing from the network."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_COLOURS = {
    "loop": "#0b6e4f",
    "frozen": "#888888",
    "every": "#c0392b",
    "periodic": "#d68910",
    "adwin": "#2471a3",
}
_WIDTH, _HEIGHT, _MARGIN = 860, 260, 56
_TICKS = 5
_ABOUT_LINES = (
    "loop is the policy; frozen keeps its first model for ever; every trains at each window, periodic as often as costs no less "
    "than the policy, adwin when ADWIN fired on its own error. Upright lines: the policy promoted a model."
)
# what is wider than the screen is moved in its own box, and numbers stay whole
_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1c2833;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem;
overflow-wrap:anywhere}
.wide,figure{margin:1rem 0;overflow-x:auto}table{border-collapse:collapse}
td,th{padding:.25rem .7rem;text-align:right;vertical-align:top;white-space:nowrap;border-bottom:1px solid #d5d8dc;
font-variant-numeric:tabular-nums}td:first-child,th:first-child,.words td,.words th{text-align:left}
.words td:last-child{white-space:normal;min-width:16rem}figcaption{font-weight:600}
svg{display:block;width:100%;min-width:38rem;height:auto;background:#fbfcfc}
text{font:11px system-ui,sans-serif;fill:#566573}
""".strip()

Point = tuple[float, float]


def page(report: Mapping[str, Any]) -> str:
    """The whole page. The same report gives the same page."""
    title = f"Backtest of {report['pipeline']}"
    about = (
        f"{report['events']:,} events, {report['scored']:,} of them with a label after the first model of "
        f"{report['first_model_at'][:19]}Z; {report['windows']} windows; a run takes {report['latency_seconds']:g} s of recorded time."
    )
    body = "".join(_policy(policy) for policy in report["policies"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(about)}</p>"
        f"<p>{escape(_ABOUT_LINES)}</p>{body}</body></html>\n"
    )


def _policy(policy: Mapping[str, Any]) -> str:
    captured = policy["gain_captured"]
    share = "nothing to be gained" if captured is None else f"{captured:.0%} of every's gain"
    series, metric = policy["series"], policy["metric"]
    marks = [run["ended"] for run in policy["runs"] if run["outcome"] == "promoted"]
    return (
        f"<section><h2>{escape(policy['name'])}: {share}</h2>{_table(policy)}"
        f"{_figure(f'{metric}, window by window', series, 'window', marks)}"
        f"{_figure(f'{metric}, over all events so far', series, 'so_far', marks)}{_runs(policy['runs'])}</section>"
    )


def _table(policy: Mapping[str, Any]) -> str:
    names = ("loop", "frozen", "every", "periodic", "adwin")
    retrains = [policy["retrains"], 0, *(policy[f"{name}_retrains"] for name in names[2:])]
    costs = [policy["cpu_seconds"], *(policy[f"{name}_cpu_seconds"] for name in names[1:])]
    rows = [
        (name, _number(policy[name]), str(count), _number(cost))
        for name, count, cost in zip(names, retrains, costs, strict=True)
    ]
    return _rows(("", policy["metric"], "retrains", "training CPU seconds"), rows)


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(run["number"]),
            run["asked"][:19],
            run["outcome"],
            f"{run['cpu_seconds']:.2f}",
            run["because"],
        )
        for run in runs
    ]
    return f"<details><summary>Runs</summary>{_rows(('run', 'asked', 'outcome', 'CPU s', 'because'), rows, 'wide words')}</details>"


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "wide") -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="{kind}"><table><tr>{header}</tr>{body}</table></div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _figure(
    title: str, series: Sequence[Mapping[str, Any]], over: str, promoted: Sequence[str]
) -> str:
    lines = {
        name: [
            (float(point["events"]), point[over][name])
            for point in series
            if point[over][name] is not None
        ]
        for name in _COLOURS
    }
    values = [value for line in lines.values() for _, value in line]
    if not values:
        return ""
    frame = _Frame(max(point["events"] for point in series), min(values), max(values))
    # the loop's last, over the others
    drawn = "".join(_line(name, line, frame) for name, line in reversed(lines.items()))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{_grid(frame, series)}{_promotions(series, promoted, frame)}{drawn}{_legend()}</svg></figure>"
    )


class _Frame:
    """Where values stand in the drawing."""

    def __init__(self, events: float, low: float, high: float) -> None:
        self.low = low
        self.high = high if high > low else low + 1.0
        self.events = events or 1.0

    def place(self, events: float, value: float) -> Point:
        across = _MARGIN + (_WIDTH - 2 * _MARGIN) * events / self.events
        share = (value - self.low) / (self.high - self.low)
        return across, _HEIGHT - _MARGIN / 2 - (_HEIGHT - _MARGIN) * share


def _line(name: str, points: Sequence[Point], frame: _Frame) -> str:
    places = " ".join("{:.1f},{:.1f}".format(*frame.place(*point)) for point in points)
    width = 2.2 if name == "loop" else 1.2
    return f'<polyline fill="none" stroke="{_COLOURS[name]}" stroke-width="{width}" points="{places}"/>'


def _grid(frame: _Frame, series: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for tick in range(_TICKS):
        value = frame.low + (frame.high - frame.low) * tick / (_TICKS - 1)
        _, down = frame.place(0.0, value)
        parts.append(
            f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{down:.1f}" y2="{down:.1f}" stroke="#e5e8e8"/>'
            f'<text x="4" y="{down + 4:.1f}">{value:.4g}</text>'
        )
    for point in series[:: max(1, len(series) // _TICKS)]:
        across, _ = frame.place(float(point["events"]), frame.low)
        parts.append(f'<text x="{across - 30:.1f}" y="{_HEIGHT - 8}">{point["until"][:10]}</text>')
    return "".join(parts)


def _promotions(series: Sequence[Mapping[str, Any]], promoted: Sequence[str], frame: _Frame) -> str:
    """A thin line in the window in which a model was promoted."""
    parts = []
    for at in promoted:
        events = next((point["events"] for point in series if point["until"] >= at), None)
        if events is not None:
            across, _ = frame.place(float(events), frame.low)
            parts.append(
                f'<line x1="{across:.1f}" x2="{across:.1f}" y1="20" y2="{_HEIGHT - _MARGIN / 2:.1f}" '
                'stroke="#0b6e4f" stroke-opacity="0.25"/>'
            )
    return "".join(parts)


def _legend() -> str:
    return "".join(
        f'<text x="{_MARGIN + 90 * place}" y="14" style="fill:{colour};font-weight:600">{name}</text>'
        for place, (name, colour) in enumerate(_COLOURS.items())
    )
