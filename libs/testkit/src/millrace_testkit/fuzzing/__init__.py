"""What fuzz tests share. How hard they try is a profile: the quick one is repeatable, `--hypothesis-profile=fuzz` is long.

Quick: few examples, the same ones every time, part of the unit tests, and what fails is not made smaller. Long: twenty
times as many, others each time.
"""

from collections.abc import Collection

from hypothesis import HealthCheck, Phase, settings

UNHURRIED = "unhurried"
LONG = "fuzz"
_TIMES = 20

settings.register_profile(LONG, print_blob=True)
# for every test that says nothing else: what is slow on a busy machine is not wrong
settings.register_profile(
    UNHURRIED, settings.get_profile(settings.get_current_profile_name()), deadline=None
)
settings.load_profile(UNHURRIED)


def effort(examples: int, *, suppress: Collection[HealthCheck] = ()) -> settings:
    """Settings for so many examples in the quick profile. No deadline: a busy machine breaks no law."""
    is_long = settings.get_current_profile_name() == LONG
    return settings(
        max_examples=examples * (_TIMES if is_long else 1),
        derandomize=not is_long,
        phases=list(Phase) if is_long else [Phase.explicit, Phase.generate],
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, *suppress],
    )
