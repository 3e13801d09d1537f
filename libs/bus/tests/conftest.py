"""`--hypothesis-profile=long` explores the protocol's schedules at length instead of a fixed handful."""

from hypothesis import settings

settings.register_profile("long", max_examples=2_000, derandomize=False, print_blob=True)
