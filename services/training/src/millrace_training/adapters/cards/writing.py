"""A card's blocks as Markdown, and as one HTML page with its plots in it: no script, nothing from the network.

Names, values and notes come from users' data: all of it is escaped, in both.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape

from millrace_training.adapters.cards.content import (
    Bars,
    Block,
    Heading,
    Plot,
    Table,
    Text,
    number,
)

_WIDTH, _ROW, _NAMES, _HEIGHT, _MARGIN = 720, 22, 220, 200, 44
_COLOUR, _QUIET = "#2471a3", "#566573"
_LONGEST_NAME = 32  # characters beside a bar
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2833;max-width:56rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #d5d8dc;
overflow-wrap:anywhere}figure{margin:1rem 0}figcaption{font-weight:600}svg{width:100%;max-width:45rem;height:auto;
background:#fbfcfc}text{font:12px system-ui,sans-serif;fill:#566573}
""".strip()
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~])")


def markdown(blocks: Iterable[Block]) -> str:
    """CommonMark with tables; plots are left to the HTML, their figures stand in the tables."""
    return "\n\n".join(text for block in blocks if (text := _markdown(block))) + "\n"


def html(title: str, blocks: Iterable[Block]) -> str:
    body = "".join(map(_html, blocks))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Text(text):
            return _plain(text)
        case Table(rows):
            first, *others = [_line(row) for row in rows]
            return "\n".join([first, "|" + " --- |" * len(rows[0]), *others])
        case Plot(curve, answer):
            values = [_word(value) for value in curve.values]
            rows = [(curve.name, f"mean {answer}")]
            rows += zip(values, map(number, curve.answers), strict=True)
            return _markdown(Table(rows))
        case Bars():
            return ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """On one line, and nothing in it means anything to Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Table(rows):
            return _table(rows)
        case Bars():
            return _bars(block)
        case Plot():
            return _plot(block)


def _table(rows: Sequence[Sequence[str]]) -> str:
    titles, *others = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in titles) if any(titles) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in others
    )
    return f"<table><tr>{head}</tr>{body}</table>" if head else f"<table>{body}</table>"


def _bars(bars: Bars) -> str:
    reach = {name: bars.errors.get(name, 0.0) for name in bars.values}
    highest = max((value + reach[name] for name, value in bars.values.items()), default=0.0)
    lowest = min([0.0, *(value - reach[name] for name, value in bars.values.items())])
    span = (max(highest, 0.0) - lowest) or 1.0
    unit = (_WIDTH - _NAMES - 90) / span
    zero = _NAMES - lowest * unit
    parts = []
    for place, (name, value) in enumerate(bars.values.items()):
        top, long = place * _ROW, abs(value) * unit
        left, right = min(zero, zero + value * unit), max(zero, zero + value * unit)
        parts.append(
            f'<text x="{_NAMES - 8}" y="{top + 15}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect x="{left:.1f}" y="{top + 4}" width="{long:.1f}" height="14" fill="{_COLOUR}"/>'
            f'<text x="{right + reach[name] * unit + 6:.1f}" y="{top + 15}">{number(value)}</text>'
        )
        if reach[name]:
            at, middle = zero + value * unit, top + 11
            parts.append(
                f'<path d="M{at - reach[name] * unit:.1f} {middle}H{at + reach[name] * unit:.1f}" '
                f'stroke="{_QUIET}" stroke-width="2"/>'
            )
    return _figure(bars.title, "".join(parts), len(bars.values) * _ROW + 4)


def _plot(plot: Plot) -> str:
    """A line over numbers, points over words."""
    curve = plot.curve
    low, high = min(curve.answers), max(curve.answers)
    tall = (high - low) or 1.0
    words = any(isinstance(value, str) for value in curve.values)
    places = [float(place) for place in range(len(curve.values))]
    at = places if words else [float(value) for value in curve.values]
    wide = (at[-1] - at[0]) or 1.0
    points = [
        (
            _MARGIN + (x - at[0]) / wide * (_WIDTH - 2 * _MARGIN),
            _HEIGHT - _MARGIN - (y - low) / tall * (_HEIGHT - 1.5 * _MARGIN),
        )
        for x, y in zip(at, curve.answers, strict=True)
    ]
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_COLOUR}"/>' for x, y in points
    )
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = (
        ""
        if words
        else f'<polyline points="{way}" fill="none" stroke="{_COLOUR}" stroke-width="2"/>'
    )
    shown = range(len(points)) if words else (0, len(points) - 1)
    below = "".join(
        f'<text x="{points[place][0]:.1f}" y="{_HEIGHT - 16}" text-anchor="middle">'
        f"{escape(_short(_word(curve.values[place]), 12))}</text>"
        for place in shown
    )
    scale = (
        f'<text x="4" y="{_MARGIN / 2:.0f}">{number(high)}</text>'
        f'<text x="4" y="{_HEIGHT - _MARGIN}">{number(low)}</text>'
    )
    return _figure(f"{curve.name}: mean {plot.answer}", line + marks + below + scale, _HEIGHT)


def _figure(title: str, drawn: str, height: int) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg></figure>'
    )


def _word(value: float | str) -> str:
    return number(value) if isinstance(value, float) else value or "missing"


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
