"""Cron schedules that say H, as Jenkins writes it: some time within the field, another one for each name.

A thousand pipelines that are all due at three o'clock are due at once; `H 3 * * *` spreads them over the hour, each at
the same minute every day. `H(0-15) H(2-5) * * *` spreads them over the first quarters of four hours.
"""

import hashlib
import re

_RANGES = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))  # 28: the days that every month has
_SOME = re.compile(r"H(?:\((\d{1,2})-(\d{1,2})\))?")


def spread(schedule: str, name: str) -> str:
    """The five cron fields with every H written out for this name. What is no such schedule comes back as it is."""
    fields = schedule.split()
    if len(fields) != len(_RANGES):
        return schedule
    return " ".join(_written_out(field, place, name) for place, field in enumerate(fields))


def _written_out(field: str, place: int, name: str) -> str:
    found = _SOME.fullmatch(field)
    if found is None:
        return field
    lowest, highest = _RANGES[place]
    first = lowest if found[1] is None else int(found[1])
    last = highest if found[2] is None else int(found[2])
    if not lowest <= first <= last <= highest:
        return field
    digest = hashlib.sha256(f"{place}/{name}".encode()).digest()
    return str(first + int.from_bytes(digest[:8], "big") % (last - first + 1))
