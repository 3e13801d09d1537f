import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_testkit.broker_suite import BrokerSuite
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker


class TestKafkaBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, kafka: KafkaServer) -> KafkaBroker:
        return KafkaBroker(KafkaSettings(kafka.bootstrap, session_timeout_seconds=6))
