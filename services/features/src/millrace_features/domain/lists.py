"""Lists that are values: changing one makes another."""

from typing import TypeVar

T = TypeVar("T")


def inserted(values: list[T], place: int, value: T) -> list[T]:
    copy = values.copy()
    copy.insert(place, value)
    return copy


def shifted(values: list[T], gone: int, place: int, value: T) -> list[T]:
    """As `inserted`, without the first `gone`, none of which stands after the place."""
    copy = values[gone:]
    copy.insert(place - gone, value)
    return copy


def replaced(values: list[T], place: int, value: T) -> list[T]:
    copy = values.copy()
    copy[place] = value
    return copy


def present(values: list[float]) -> list[float]:
    """Those that are not missing. A sum finds out whether any is, much faster than looking at each."""
    total = sum(values)
    return values if total == total else [value for value in values if value == value]
