"""What operators ask a running instance."""

import httpx2
import pytest

from millrace_features.bootstrap import assemble
from millrace_features.entrypoints.http import app
from millrace_features.settings import Settings
from millrace_testkit.memory import MemoryBroker


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_readiness_is_what_the_service_says(tmp_path, ready, status):
    parts = assemble(Settings(millrace_home=tmp_path), broker=MemoryBroker())
    transport = httpx2.ASGITransport(app(parts, lambda: ready))
    async with httpx2.AsyncClient(transport=transport, base_url="http://features") as client:
        assert (await client.get("/health/ready")).status_code == status
        assert (await client.get("/health/live")).json() == {"live": True}
        assert "millrace" in (await client.get("/metrics")).text


def test_state_stands_under_the_home_unless_a_folder_is_named(tmp_path, monkeypatch):
    assert Settings(millrace_home=tmp_path).state_directory == tmp_path / "features"

    monkeypatch.setenv("FEATURES_STATE_DIR", "/elsewhere")
    monkeypatch.setenv("FEATURES_PORT", "9999")

    assert str(Settings().state_directory) == "/elsewhere"
    assert Settings().features_port == 9999
