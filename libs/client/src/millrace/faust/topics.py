"""The platform's topics, for Faust agents."""

from faust.types import TopicT

from millrace.errors import ClientError
from millrace.faust.application import Application
from millrace.faust.codec import EventSchema
from millrace_contracts.catalogue import catalogue


def topic(app: Application, name: str) -> TopicT:
    """A topic of the catalogue; its values are `Heard`, its keys text. Raises ClientError for an unknown name."""
    known = catalogue().topics
    if name not in known:
        raise ClientError(
            f"there is no topic {name}; the platform's are {', '.join(sorted(known))}"
        )
    return app.topic(
        name, schema=EventSchema(allow_empty=True), partitions=partitions_of(app, name)
    )


def partitions_of(app: Application, name: str) -> int:
    """As many as the platform creates: a table beside the topic must have the same number."""
    count, chosen = catalogue().topics[name].partitions, app.platform.kafka_partitions
    return chosen if chosen and count > 1 else count
