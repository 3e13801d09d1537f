"""How a running service is seen: traces, metrics, logs."""
