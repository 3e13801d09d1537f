"""The bus: the one place that knows Kafka, and the guarantee that every service stands on.

Read a batch, drop what was seen (fence), handle it purely, commit state + positions + outputs as one, publish, next.

- `millrace_bus.stream`: state in RocksDB, outputs acknowledged before state is written
- `millrace_bus.sql_worker`: state in SQL, outputs through an outbox in the same transaction
- `millrace_bus.follower`: a topic read from its beginning into memory, in every instance
"""

from millrace_bus.broker import (
    Broker,
    Consumer,
    Producer,
    RebalanceListener,
    TopicPartition,
    TopicSpec,
)
from millrace_contracts.message import Cause, Message, Outgoing

__all__ = [
    "Broker",
    "Cause",
    "Consumer",
    "Message",
    "Outgoing",
    "Producer",
    "RebalanceListener",
    "TopicPartition",
    "TopicSpec",
]
