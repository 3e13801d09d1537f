"""Millrace's serving beside the model servers that people use: `make bench-serving`, or `python -m benchmarks.serving`."""
