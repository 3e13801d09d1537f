"""How often the gate "better than the champion" decides wrongly: simulated losses whose truth is known.

    python -m benchmarks.gates [--repeats 2000]     writes benchmarks/results/gates.json

Losses are paired and time-correlated, like those of two versions of one model measured on bikes and electricity prices:
the differences' correlation is 0.6 at a lag of one row, 0.45 at two, 0.3 at five, and nothing after a day; their spread is
about that of the losses. Their distribution is normal, heavy-tailed, or skewed either way. The effect is told in standard errors
of the mean difference, the true ones: what is resolved depends on the effect, the rows and the correlation only through them.
A standard error is also a share of the champion's loss, were the differences' spread equal to it.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from millrace_training.adapters.fitting.measuring.measure import better_probability

Values = NDArray[np.float64]
RESULTS = Path(__file__).resolve().parent / "results" / "gates.json"
ROWS = (100, 200, 350, 1_000)
SHAPES = ("normal", "heavy", "skewed", "skewed against")
DEPENDENCE = ("correlated", "independent")
EFFECTS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # below 0: truly worse
CONFIDENCES = (0.95, 0.99)
FEWEST_ROWS = 350  # that the summary is over
_SLOW, _FAST, _SHARE = (
    0.88,
    0.25,
    0.55,
)  # two autoregressions, and the slow one's share of the variance


def standard_error(rows: int, dependence: str) -> float:
    """Of the mean of `differences`, whose own spread is 1."""
    if dependence == "independent":
        return float(rows**-0.5)
    long_run = _SHARE * (1 + _SLOW) / (1 - _SLOW) + (1 - _SHARE) * (1 + _FAST) / (1 - _FAST)
    return float((long_run / rows) ** 0.5)


def differences(random: np.random.Generator, rows: int, shape: str, dependence: str) -> Values:
    """float64 [rows], mean 0, spread 1: the champion's loss less the candidate's, were both equally good."""
    if dependence == "independent":
        base: Values = random.normal(size=rows)
    else:
        slow, fast = _series(random, rows, _SLOW), _series(random, rows, _FAST)
        base = _SHARE**0.5 * slow + (1 - _SHARE) ** 0.5 * fast
    match shape:
        case "heavy":  # its spread comes and goes
            scale = np.exp(0.5 * _series(random, rows, 0.9))
            return base * scale / float(np.exp(0.25))
        case "skewed" | "skewed against":
            raised = (np.exp(0.6 * base) - np.exp(0.18)) / (
                (np.exp(0.36) - 1) * np.exp(0.36)
            ) ** 0.5
            return raised if shape == "skewed" else -raised
        case _:
            return base


@dataclass(frozen=True, slots=True)
class Cell:
    """How often candidates pass, by effect (in standard errors, as text)."""

    rows: int
    dependence: str
    shape: str
    confidence: float
    standard_error: float  # of differences whose spread is 1
    promoted: dict[str, float]


def cells_of(rows: int, shape: str, dependence: str, repeats: int, seed: int) -> list[Cell]:
    """One for each confidence. The same noise for every effect, so that they can be compared."""
    error = standard_error(rows, dependence)
    passed = {(effect, sure): 0 for effect in EFFECTS for sure in CONFIDENCES}
    random = np.random.default_rng(seed)
    for number in range(repeats):
        noise = differences(random, rows, shape, dependence)
        for effect in EFFECTS:
            found = noise + effect * error
            probability = better_probability(np.zeros(rows), found, number)
            for sure in CONFIDENCES:
                passed[effect, sure] += bool(probability >= sure and found.mean() > 0)
    return [
        Cell(
            rows,
            dependence,
            shape,
            sure,
            round(error, 4),
            {f"{effect:g}": round(passed[effect, sure] / repeats, 4) for effect in EFFECTS},
        )
        for sure in CONFIDENCES
    ]


def _series(random: np.random.Generator, rows: int, memory: float) -> Values:
    """An autoregression of spread 1, long begun."""
    begun = 100
    raw: Values = lfilter([1.0], [1.0, -memory], random.normal(size=rows + begun))
    return raw[begun:] * (1 - memory**2) ** 0.5


def summary(cells: list[Cell]) -> list[dict[str, object]]:
    """Over all shapes and from 350 rows on: the least, the mean and the most promoted of each effect."""
    kept = [cell for cell in cells if cell.rows >= FEWEST_ROWS]
    return [
        {
            "confidence": sure,
            "dependence": dependence,
            "effect": effect,
            "promoted": [min(shares), round(float(np.mean(shares)), 4), max(shares)],
        }
        for sure in CONFIDENCES
        for dependence in DEPENDENCE
        for effect in EFFECTS
        if (
            shares := [
                cell.promoted[f"{effect:g}"]
                for cell in kept
                if (cell.confidence, cell.dependence) == (sure, dependence)
            ]
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=600)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    began = time.process_time()
    cells: list[Cell] = []
    for rows in ROWS:
        for dependence in DEPENDENCE:
            for place, shape in enumerate(SHAPES):
                cells += cells_of(rows, shape, dependence, given.repeats, seed=place)
                print(rows, dependence, shape, f"{time.process_time() - began:.0f} s")
    write(given.out, given.repeats, time.process_time() - began, cells)


def write(path: Path, repeats: int, cpu_seconds: float, cells: list[Cell]) -> None:
    """One line for each cell, so that a change can be read."""
    told = summary(cells)
    lines = ",\n  ".join(json.dumps(asdict(cell)) for cell in cells)
    summed = ",\n  ".join(json.dumps(each) for each in told)
    path.write_text(
        f'{{\n "repeats": {repeats},\n "cpu_seconds": {cpu_seconds:.1f},\n'
        f' "summary": [\n  {summed}\n ],\n "cells": [\n  {lines}\n ]\n}}\n'
    )
    for each in told:
        print(each)


if __name__ == "__main__":
    main()
