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

_WIDTH, _ROW, _NAMES, _HEIGHT, _MARGIN = 720, 22, 250, 200, 88
_COLOUR, _QUIET, _FAINT = "#2471a3", "#566573", "#d5d8dc"
_LONGEST_NAME = 30  # characters beside a bar: what fits there
_LONGEST_WORD = 14  # below a point
# what is wider than the screen is moved in its own box, and numbers stay whole
_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1c2833;background:#fff;max-width:56rem;margin:2rem auto;padding:0 1rem;
overflow-wrap:anywhere}
.wide,figure{margin:1rem 0;overflow-x:auto}table{border-collapse:collapse}
td,th{padding:.25rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid #d5d8dc}
td{min-width:6rem}.number{text-align:right;white-space:nowrap;min-width:0;font-variant-numeric:tabular-nums;
overflow-wrap:normal}th{overflow-wrap:normal;white-space:nowrap}figcaption{font-weight:600}
svg{display:block;width:100%;min-width:34rem;max-width:45rem;height:auto;background:#fbfcfc}
text{font:12px system-ui,sans-serif;fill:#566573}
""".strip()
_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?%?|-|nan|[-+]?inf")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~&])")
_LEADING = re.compile(r"^(\d*)([-+.)=])")  # what would begin a list, or be a line under a heading


def markdown(blocks: Iterable[Block]) -> str:
    """CommonMark with tables; plots are left to the HTML, their figures stand in the tables."""
    return "\n\n".join(text for block in blocks if (text := _markdown(block))) + "\n"


def html(title: str, blocks: Iterable[Block]) -> str:
    body = "".join(map(_html, blocks))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Text(text):
            return _LEADING.sub(r"\1\\\2", _plain(text))
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
    """Columns of numbers stand right. The first row is left out when it has no titles."""
    titles, *others = rows
    named = any(titles)
    numeric = [
        named and all(_NUMBER.fullmatch(row[place]) for row in others)
        for place in range(len(titles))
    ]
    head = "<tr>" + "".join(map(_cell, titles, numeric, ["th"] * len(titles))) + "</tr>"
    body = "".join(
        "<tr>" + "".join(map(_cell, row, numeric, ["td"] * len(row))) + "</tr>" for row in others
    )
    return f'<div class="wide"><table>{head if named else ""}{body}</table></div>'


def _cell(text: str, is_number: bool, tag: str) -> str:
    kind = ' class="number"' if is_number else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


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
            f'<text x="{_NAMES - 8}" y="{top + 15}" text-anchor="end">{_named(name, _LONGEST_NAME)}</text>'
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
    """A line over numbers; over words points, each on a stem."""
    curve = plot.curve
    low, high = min(curve.answers), max(curve.answers)
    words = any(isinstance(value, str) for value in curve.values)
    top, bottom = 28.0, _HEIGHT - 44.0
    points = [
        (_MARGIN + x * (_WIDTH - 1.6 * _MARGIN), bottom - y * (bottom - top))
        for x, y in zip(
            _shares(range(len(curve.values)) if words else curve.values),
            _shares(curve.answers),
            strict=True,
        )
    ]
    marks = "".join(
        (_rule(x, y, x, _HEIGHT - 34) if words else "")
        + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_COLOUR}"/>'
        for x, y in points
    )
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = (
        ""
        if words
        else f'<polyline points="{way}" fill="none" stroke="{_COLOUR}" stroke-width="2"/>'
    )
    shown = range(len(points)) if words else (0, len(points) // 2, len(points) - 1)
    room = _LONGEST_WORD if len(points) <= 6 else _LONGEST_WORD // 2
    below = "".join(
        f'<text x="{points[place][0]:.1f}" y="{_HEIGHT - 16}" text-anchor="middle">'
        f"{_named(_word(curve.values[place]), room)}</text>"
        for place in sorted(set(shown))
    )
    heights = {top: high, bottom: low} if high > low else {(top + bottom) / 2: high}
    scale = "".join(
        f'<text x="{_MARGIN - 14}" y="{at + 4:.1f}" text-anchor="end">{number(value)}</text>'
        + _rule(_MARGIN - 8, at, _WIDTH - 8, at)
        for at, value in heights.items()
    )
    return _figure(f"{curve.name}: mean {plot.answer}", scale + line + marks + below, _HEIGHT)


def _shares(values: Sequence[float | str]) -> list[float]:
    """Where each stands between the smallest and the largest; in the middle when all are the same."""
    found = [float(value) for value in values]
    low, span = min(found), max(found) - min(found)
    return [(value - low) / span if span else 0.5 for value in found]


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{_FAINT}"/>'


def _figure(title: str, drawn: str, height: int) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg></figure>'
    )


def _word(value: float | str) -> str:
    return number(value) if isinstance(value, float) else value or "missing"


def _named(name: str, longest: int) -> str:
    """As far as there is room: of a longer name both ends, which tell names apart, and all of it under the pointer."""
    if len(name) <= longest:
        return escape(name)
    ahead = (longest - 1) // 2
    short = f"{name[:ahead]}…{name[ahead + 1 - longest :]}"
    return f"<title>{escape(name)}</title>{escape(short)}"
