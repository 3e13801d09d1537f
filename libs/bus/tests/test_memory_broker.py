import pytest

from millrace_testkit.broker_suite import BrokerSuite
from millrace_testkit.memory import MemoryBroker


class TestMemoryBroker(BrokerSuite):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()
