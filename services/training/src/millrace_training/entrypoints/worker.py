"""The Kafka side: vectors, labels, drift, champions and commands in; decisions and candidates out."""

from millrace_service.process import Component
from millrace_training.bootstrap import Training


def components(training: Training) -> list[Component]:
    """Everything that works while the service runs."""
    return training.components()
