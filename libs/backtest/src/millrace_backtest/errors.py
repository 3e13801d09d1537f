"""What a backtest cannot be done with."""


class BacktestError(Exception):
    """Nothing can be said about this pipeline on this data. The text says why, and what to do."""
