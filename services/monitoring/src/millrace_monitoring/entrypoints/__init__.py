"""Kafka and HTTP."""
