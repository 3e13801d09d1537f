"""Updates through the whole service, where the champion decides whether there are any."""

import pytest

from millrace_testkit.eventually import eventually, running

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
ENOUGH = 470  # labels until an update is due: 400 after the 60 of the first model


@pytest.mark.parametrize(
    ("candidates", "ends"),
    [("[linear, xgboost]", "RetrainSkipped"), ("[xgboost]", "TrainingCompleted")],
)
async def test_an_update_that_the_champion_does_not_take_is_not_a_run(
    neighbours, service, quick, file, candidates, ends
):
    asked = file.replace("[linear]", candidates).replace("cooldown: 12h", "on: [update]")
    async with running(*service.components(quick)):
        await neighbours.apply(asked)
        await neighbours.rows(0, 60)
        [(first, _)] = await neighbours.hears("TrainingCompleted")
        await neighbours.promote(first)
        await eventually(lambda: service.overview.status("bikes").champion_version == 1)
        await neighbours.rows(60, ENOUGH)
        told = await neighbours.hears(ends, 1 if ends == "RetrainSkipped" else 2)

    message = told[-1][0]
    assert message.trigger == "update"
    if ends == "RetrainSkipped":
        assert first.algorithm == "linear"
        assert message.reason == "not_updatable"
        assert "version 1, which answers, is of kind linear" in message.detail
        assert neighbours.names().count("RetrainRequested") == 1
    assert "TrainingFailed" not in neighbours.names()
