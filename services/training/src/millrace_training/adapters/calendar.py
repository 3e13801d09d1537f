"""When cron schedules fall due, in UTC."""

from datetime import datetime

from croniter import CroniterBadDateError, croniter

from millrace_kernel.time import LATEST, Instant, as_datetime, instant


def next_due(schedule: str, after: Instant) -> Instant:
    """The first due time after an instant; `schedule` is five cron fields, as pipeline files are checked for.

    LATEST for one that names no day there is, such as the 30th of February.
    """
    try:
        due: datetime = croniter(schedule, as_datetime(after)).get_next(datetime)
    except CroniterBadDateError:
        return LATEST
    return instant(due)
