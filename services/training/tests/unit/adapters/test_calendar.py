"""When cron schedules fall due."""

import pytest

from millrace_kernel.time import LATEST, parse_rfc3339, rfc3339
from millrace_training.adapters.calendar import next_due


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("0 3 * * *", "2026-03-01T00:00:00Z", "2026-03-01T03:00:00.000000Z"),
        ("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00.000000Z"),
        ("0 3 * * *", "2026-03-01T02:59:59.999999Z", "2026-03-01T03:00:00.000000Z"),
        ("*/15 * * * *", "2026-03-29T01:50:00Z", "2026-03-29T02:00:00.000000Z"),
        ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00.000000Z"),
    ],
)
def test_a_schedule_is_due_strictly_after_an_instant_in_utc(schedule, after, due):
    assert rfc3339(next_due(schedule, parse_rfc3339(after))) == due


def test_a_day_that_never_comes_is_never_due():
    assert next_due("0 0 30 2 *", parse_rfc3339("2026-03-01T00:00:00Z")) == LATEST
