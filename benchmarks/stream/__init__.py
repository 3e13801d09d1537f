"""Events to predictions beside the stream engines that people use: `make bench-stream`, or `python -m benchmarks.stream`."""
