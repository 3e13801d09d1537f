"""How long the blocks of a block bootstrap must be for neighbours' dependence to stay within them."""

import numpy as np
from numpy.typing import NDArray

_LONGER_FOR_TESTS = 2


def block_for_a_test(values: NDArray[np.float64]) -> int:
    """The rows of a block for a test of the mean: at least the square root of all, and twice `automatic_block`.

    That one makes the variance's estimate most exact. A test wants longer blocks than that (Sun, Phillips and Jin 2008): a
    spread taken for too small leads it astray, one taken for too large only makes it less sharp.
    """
    root = round(float(len(values) ** 0.5))
    return max(root, _LONGER_FOR_TESTS * automatic_block(values))


def automatic_block(values: NDArray[np.float64]) -> int:
    """The rows of a circular block by Politis and White (2004), as corrected by Patton, Politis and White (2009).

    From how far back the values' autocorrelation can be told from 0. At least 1, at most the rows.
    """
    rows = len(values)
    if rows < 8 or not np.any(values != values[0]):
        return 1
    covariances, reach = _covariances(values)
    lag = _last_lag(covariances / covariances[0], rows, reach)
    if lag == 0:
        return 1
    lags = np.arange(-min(2 * lag, len(covariances) - 1), min(2 * lag, len(covariances) - 1) + 1)
    near = np.abs(lags / lags[-1])
    weights = np.where(
        near <= 0.5, 1.0, 2.0 * (1.0 - near)
    )  # a flat top, and linear to 0 from there
    long_run = float(np.sum(weights * covariances[np.abs(lags)]))
    slope = float(np.sum(weights * np.abs(lags) * covariances[np.abs(lags)]))
    if long_run <= 0.0:
        return 1
    best = (2.0 * slope**2 / (4.0 / 3.0 * long_run**2)) ** (1 / 3) * rows ** (1 / 3)
    return int(min(rows, max(1, np.ceil(best))))


def _covariances(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The autocovariances of as many lags as are looked at, and how many in a row must be nothing for the search to end."""
    rows = len(values)
    reach = max(5, int(np.ceil(np.log10(rows) ** 0.5)))
    most = min(rows - 1, int(np.ceil(rows**0.5)) + reach)
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * rows)
    return np.fft.irfft(spectrum * np.conj(spectrum))[: most + 1] / rows, reach


def _last_lag(correlations: NDArray[np.float64], rows: int, reach: int) -> int:
    """The last lag before so many that can't be told from 0; without such a gap, the last that can."""
    told = np.abs(correlations[1:]) > 2.0 * (np.log10(rows) / rows) ** 0.5
    for lag in range(len(told) - reach + 1):
        if not told[lag : lag + reach].any():
            return lag
    found = np.flatnonzero(told)
    return int(found[-1]) + 1 if len(found) else 0
