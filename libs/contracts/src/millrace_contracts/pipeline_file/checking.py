"""Checks one section of the file against its form, and says in the user's words what does not fit."""

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from millrace_contracts.pipeline_file.basic_forms import Form
from millrace_contracts.pipeline_file.problems import (
    Path,
    Problem,
    did_you_mean,
    listed,
    not_one_of,
    shown,
)
from millrace_contracts.pipeline_file.tree import Tree

F = TypeVar("F", bound=Form)

_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def check(form: type[F], value: object, path: Path, tree: Tree) -> F | None:
    """The section as its form has it, or None with every problem noted in the tree."""
    try:
        return form.model_validate(value)
    except ValidationError as error:
        tree.problems.extend(
            _problem(form, path, details, tree) for details in error.errors(include_url=False)
        )
        return None


def keys_of(form: type[Form]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in form.model_fields.items()}


def unknown_key(name: str, known: list[str]) -> tuple[str, str]:
    return "is not a key here", did_you_mean(name, known) or f"the keys here are {listed(known)}"


def missing_key(name: str, info: FieldInfo) -> tuple[str, str]:
    example = f", e.g. {name}: {info.examples[0]}" if info.examples else ""
    return "is missing", f"add it{example}"


def _problem(form: type[Form], path: Path, details: ErrorDetails, tree: Tree) -> Problem:
    inner = tuple(part for part in details["loc"])
    what, fix = _words(form, inner, details)
    return tree.problem((*path, *inner), what, fix)


def _words(form: type[Form], inner: Path, details: ErrorDetails) -> tuple[str, str]:
    kind, value = details["type"], details["input"]
    holder = form_at(form, inner[:-1])
    last = str(inner[-1]) if inner else ""
    if kind == "missing":
        return missing_key(last, keys_of(holder)[last])
    if kind == "extra_forbidden":
        return unknown_key(last, list(keys_of(holder)))
    if kind == "literal_error":
        return not_one_of(value, _words_of(keys_of(holder), inner))
    if kind in _TYPES:
        return _wrong_type(value, _TYPES[kind])
    return _out_of_bounds(kind, value, details.get("ctx", {}))


def _wrong_type(value: object, wanted: str) -> tuple[str, str]:
    if value is None:
        return "has no value", f"write {wanted}, or leave the key out"
    hint = (
        f", {str(value)!r} in quotes"
        if wanted == "a text" and isinstance(value, bool | int | float)
        else ""
    )
    return f"{shown(value)} is not {wanted}", f"write {wanted}{hint}"


_BOUNDS: dict[str, tuple[str, str]] = {
    "greater_than": ("gt", "is too small; write more than {}"),
    "greater_than_equal": ("ge", "is too small; write at least {}"),
    "less_than": ("lt", "is too large; write less than {}"),
    "less_than_equal": ("le", "is too large; write at most {}"),
    "string_too_short": ("min_length", "is too short; write at least {} character"),
    "string_too_long": ("max_length", "is too long; write at most {} characters"),
    "too_short": ("min_length", "is too short; write at least {} item"),
    "string_pattern_mismatch": (
        "pattern",
        "is not a name as it must be here; write one that fits {}",
    ),
}


def _out_of_bounds(kind: str, value: object, context: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "value_error":  # raised by a validator of ours: its text is already "what; fix"
        what, _, fix = str(context["error"]).partition("; ")
        return what, fix
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        what, _, fix = words.format(context[key]).partition("; ")
        return f"{shown(value)} {what}", fix
    return f"{shown(value)} does not fit here ({kind})", "see the pipeline file's schema"


def form_at(form: type[Form], inner: Path) -> type[Form]:
    """The form that holds the key at the end of the path."""
    for part in inner:
        if isinstance(part, int):
            continue
        found = _form_in(keys_of(form)[part].annotation)
        form = found or form
    return form


def _form_in(annotation: object) -> type[Form] | None:
    return _first(
        annotation, lambda part: part if isinstance(part, type) and issubclass(part, Form) else None
    )


def _words_of(keys: dict[str, FieldInfo], inner: Path) -> list[str]:
    """The words allowed at the path: of the key itself, or of the items of the list it holds."""
    name = next(str(part) for part in reversed(inner) if isinstance(part, str))
    words = _first(
        keys[name].annotation, lambda part: list(get_args(part)) if _is_literal(part) else None
    )
    return words or []


def _is_literal(part: object) -> bool:
    return bool(get_args(part)) and all(isinstance(word, str) for word in get_args(part))


T = TypeVar("T")


def _first(annotation: object, pick: Callable[[object], T | None]) -> T | None:
    picked = pick(annotation)
    if picked is not None:
        return picked
    if get_origin(annotation) in (Union, UnionType, list, dict, Annotated):
        for part in get_args(annotation):
            inner = _first(part, pick)
            if inner is not None:
                return inner
    return None
