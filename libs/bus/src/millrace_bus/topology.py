"""Creating the topics that the catalogue names."""

from collections.abc import Iterable

from millrace_bus.broker import Broker, TopicSpec
from millrace_contracts.catalogue import Topic, catalogue, dead_letters_of
from millrace_kernel.time import parse_duration

FOREVER = "forever"
DEAD_LETTER_RETENTION = "30d"
MAX_USER_VALUE_BYTES = (
    12 << 20
)  # users' values up to 10 MB reach us, to be refused in words rather than by the broker

MAX_LETTER_BYTES = MAX_USER_VALUE_BYTES + (1 << 20)  # a letter is its message and why it died


def catalogue_topics(partitions: int | None = None) -> list[TopicSpec]:
    """Every topic with its dead letters. `partitions` replaces the catalogue's number where it is more than one."""
    specs = []
    for topic in catalogue().topics.values():
        count = partitions if partitions and topic.partitions > 1 else topic.partitions
        specs.append(TopicSpec(topic.name, count, _config(topic)))
        if topic.readers:
            large = {"max.message.bytes": str(MAX_LETTER_BYTES)}
            specs.append(TopicSpec(topic.dead_letters, 1, _kept(DEAD_LETTER_RETENTION) | large))
    return specs


def user_topics(names: Iterable[str], partitions: int) -> list[TopicSpec]:
    """Topics that pipelines name, for those who have not made them themselves, with their dead letters."""
    specs = []
    for name in sorted(set(names)):
        specs.append(TopicSpec(name, partitions, {"max.message.bytes": str(MAX_USER_VALUE_BYTES)}))
        large = {"max.message.bytes": str(MAX_LETTER_BYTES)}
        specs.append(TopicSpec(dead_letters_of(name), 1, _kept(DEAD_LETTER_RETENTION) | large))
    return specs


async def ensure_topics(broker: Broker, partitions: int | None = None) -> None:
    await broker.create_topics(catalogue_topics(partitions))


def _config(topic: Topic) -> dict[str, str]:
    return {"cleanup.policy": topic.cleanup} | _kept(topic.retention)


def _kept(retention: str) -> dict[str, str]:
    milliseconds = -1 if retention == FOREVER else parse_duration(retention) // 1_000
    return {"retention.ms": str(milliseconds)}
