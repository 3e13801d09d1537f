"""Where work comes in: Kafka and HTTP."""
