"""How much of the gain of retraining a policy takes, and at what cost: `python -m benchmarks.loop`."""
