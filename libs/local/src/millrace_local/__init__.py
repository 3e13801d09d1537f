"""Real servers on this machine: Kafka, Zipkin and PostgreSQL, without containers."""
