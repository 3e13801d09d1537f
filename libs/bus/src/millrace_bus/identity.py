"""Which cluster it is: positions mean nothing on another one."""

import asyncio
import re

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from millrace_bus.kafka import BrokerAwayError, KafkaSettings

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def cluster_id(settings: KafkaSettings) -> str:
    """The id that Kafka gave the cluster when it was made. Synchronous: call it in a thread. Raises TransientError."""
    return asyncio.run(_ask(settings))


async def _ask(settings: KafkaSettings) -> str:
    client = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.client_id,
        **settings.security,
    )
    try:
        await client.start()
        answer = str((await client.describe_cluster())["cluster_id"])
    except (KafkaError, OSError) as error:
        raise BrokerAwayError(
            f"cannot ask {settings.bootstrap_servers} for its cluster id: {error or type(error).__name__}"
        ) from error
    finally:
        await client.close()
    if not _ID.fullmatch(answer):
        raise BrokerAwayError(f"{settings.bootstrap_servers} gives no cluster id: {answer!r}")
    return answer
