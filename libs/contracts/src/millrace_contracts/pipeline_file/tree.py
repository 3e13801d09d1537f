"""A text as plain values, with the place of every key: what YAML says, less what a file by a stranger must not do.

Scalars follow the JSON-compatible core of YAML 1.2, so `on:` is a key called "on" and `yes` is a text. Refused: anchors and
aliases (a few lines can mean gigabytes), tags, a key written twice, nesting without end, more than 256 KB.
"""

import json
import re
from dataclasses import dataclass, field

import yaml
from typing_extensions import override
from yaml.composer import ComposerError

from millrace_contracts.pipeline_file.problems import (
    NOWHERE,
    Mark,
    Path,
    PipelineFileError,
    Problem,
    dotted,
    shown,
)

MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 20
_MAX_DIGITS = 18  # what fits 64 bits, whatever the digits are
_LONGEST_JOINED = 2000  # characters of an expression

_NULL, _BOOL, _INT, _FLOAT = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")
)
_TEXT = "tag:yaml.org,2002:str"
_NUMBER_START = list("-+.0123456789")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(slots=True)
class Tree:
    """The values, where each key or item stands, and what was wrong with the text itself."""

    value: object = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, path: Path) -> Mark:
        """Where the path stands, or the nearest thing around it that does."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, NOWHERE)

    def at(self, path: Path) -> object:
        """The value at the path; None where there is none."""
        value = self.value
        for key in path:
            match value:
                case dict():
                    value = value.get(key)
                case list() if isinstance(key, int) and key < len(value):
                    value = value[key]
                case _:
                    return None
        return value

    def has(self, path: Path) -> bool:
        """Whether the key is written, with whatever value."""
        holder = self.at(path[:-1])
        return isinstance(holder, dict) and path[-1] in holder

    def problem(self, path: Path, what: str, fix: str) -> Problem:
        while path and isinstance(self.at(path[:-1]), str | int | float):
            path = path[
                :-1
            ]  # `hr: integer` is short for `hr: {type: integer}`: the user wrote no key there
        mark = self.mark(path)
        return Problem(mark.line, mark.column, dotted(path), what, fix)


class _Loader(yaml.SafeLoader):
    """Composes nodes; never makes objects."""

    depth = 0

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs say nothing of it
        if getattr(event, "anchor", None) is not None:
            raise ComposerError(
                None, None, "anchors (&) and aliases (*) are not understood", event.start_mark
            )
        if self.depth >= MAX_DEPTH:
            raise ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    """Writes what the loader reads back: quotes exactly what would otherwise be read as something else."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    _class.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
    _class.add_implicit_resolver(
        _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    _class.add_implicit_resolver(_INT, re.compile(r"^[-+]?[0-9]+$"), _NUMBER_START)
    _class.add_implicit_resolver(
        _FLOAT, re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"), _NUMBER_START
    )  # fmt: skip


def tree_of_yaml(text: str) -> Tree:
    """Read YAML (and JSON, which is YAML). Raises PipelineFileError where there is no tree at all."""
    _refuse_long(text)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise PipelineFileError([_unreadable(error)]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(
            line,
            1,
            "",
            f"the character {shown(text[error.position])} can't stand in a file",
            "remove it",
        )
        raise PipelineFileError([problem]) from error
    except (ValueError, OverflowError) as error:  # an escape that names no character: "\UFFFFFFFF"
        raise PipelineFileError(
            [Problem(1, 1, "", f"not readable as YAML: {error}", "check the escapes in quotes")]
        ) from error
    tree = Tree()
    tree.value = None if node is None else _Reader(tree).read(node, ())
    return tree


def tree_of_json(text: str) -> Tree:
    """Read JSON that a machine wrote: ten times as fast, without places."""
    _refuse_long(text)
    tree = Tree()

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(items)
        if len(made) < len(items):
            tree.problems.append(Problem(0, 0, "", "a key is written twice", "keep one of them"))
        return made

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise PipelineFileError(
            [Problem(0, 0, "", f"not readable as JSON: {error}", "write the file again")]
        ) from error
    tree.value = _checked(tree, value, ())
    return tree


def yaml_of(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _refuse_long(text: str) -> None:
    if len(text) > MAX_CHARACTERS or len(text.encode(errors="replace")) > MAX_CHARACTERS:
        raise PipelineFileError(
            [
                Problem(
                    0, 0, "", "the file is larger than 256 KB", "a pipeline file is a page or two"
                )
            ]
        )


def _unreadable(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    what = " ".join(filter(None, (error.context, error.problem)))
    fix = (
        "write the value out"
        if "aliases" in what
        else "check the indentation, the quotes and the colons around here"
    )
    return Problem(line, column, "", f"not readable as YAML: {what}", fix)


def _mark_of(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


class _Reader:
    """Turns nodes into values; what is wrong is noted in the tree and reading goes on."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def read(self, node: yaml.Node, path: Path) -> object:
        self._tree.marks.setdefault(path, _mark_of(node))
        match node:
            case yaml.MappingNode() if node.tag == "tag:yaml.org,2002:map":
                return self._mapping(node, path)
            case yaml.SequenceNode() if node.tag == "tag:yaml.org,2002:seq":
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in (_NULL, _BOOL, _INT, _FLOAT, _TEXT):
                return self._scalar(node, path)
            case _:
                self._note(
                    path,
                    f"the tag {shown(node.tag)} is not understood",
                    "write the value without a tag",
                )
                return None

    def _note(self, path: Path, what: str, fix: str) -> None:
        self._tree.problems.append(self._tree.problem(path, what, fix))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in _rejoined(node):
            if not isinstance(key, yaml.ScalarNode):
                self._note(path, "a key is a list or a mapping", "keys are plain words")
                continue
            name = _text(self._tree, key.value, path)
            here = (*path, name)
            if name in values:
                mark = _mark_of(key)
                what = f"is written twice, first in line {self._tree.mark(here).line}"
                self._tree.problems.append(
                    Problem(mark.line, mark.column, dotted(here), what, "keep one of them")
                )
                continue
            self._tree.marks[here] = _mark_of(key)
            values[name] = self.read(value, here)
        return values

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text = str(node.value)
        try:
            match node.tag:
                case "tag:yaml.org,2002:null":
                    return None
                case "tag:yaml.org,2002:bool":
                    return {"true": True, "false": False}[text.lower()]
                case "tag:yaml.org,2002:int":
                    return int(text) if len(text) <= _MAX_DIGITS else float(text)
                case "tag:yaml.org,2002:float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
                case _:
                    return _text(self._tree, text, path)
        except (ValueError, KeyError):  # an explicit tag on a text that is none: !!int x
            self._note(
                path, f"{shown(text)} is not what its tag says", "write the value without a tag"
            )
            return None


def _rejoined(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """The pairs of a mapping, with `{expr: lag(temp, 1)}` as it is meant: in braces, YAML ends an unquoted value at the
    comma and takes `1)` for a key. A value whose bracket is open takes such a key back."""
    pairs: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in node.value:
        if node.flow_style and pairs and _is_open(pairs[-1][1]) and _is_piece(key, value):
            name, before = pairs[-1]
            text = f"{before.value}, {key.value}"
            pairs[-1] = (name, yaml.ScalarNode(_TEXT, text, before.start_mark, key.end_mark))
        else:
            pairs.append((key, value))
    return pairs


def _is_open(node: yaml.Node) -> bool:
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return (
        plain
        and len(node.value) < _LONGEST_JOINED
        and node.value.count("(") > node.value.count(")")
    )


def _is_piece(key: yaml.Node, value: yaml.Node) -> bool:
    """A key that stands alone, as what follows a comma does."""
    return (
        isinstance(key, yaml.ScalarNode)
        and key.style is None
        and isinstance(value, yaml.ScalarNode)
        and value.tag == _NULL
        and not value.value
    )


def _text(tree: Tree, text: str, path: Path) -> str:
    """The text as Unicode allows it: halves of pairs (as JSON escapes them) joined, control characters refused."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if _UNSAFE.search(joined) or (joined != text and "\ufffd" in joined):
        tree.problems.append(
            tree.problem(path, "holds a character that can't stand in a text", "remove it")
        )
        return _UNSAFE.sub("\ufffd", joined)
    return joined


def _checked(tree: Tree, value: object, path: Path) -> object:
    """The same rules for JSON: depth and texts."""
    if len(path) > MAX_DEPTH:
        raise PipelineFileError(
            [tree.problem(path, f"nested more than {MAX_DEPTH} deep", "a pipeline file is flat")]
        )
    match value:
        case str():
            return _text(tree, value, path)
        case dict():
            return {
                _text(tree, key, path): _checked(tree, item, (*path, key))
                for key, item in value.items()
            }
        case list():
            return [_checked(tree, item, (*path, index)) for index, item in enumerate(value)]
        case int() if not isinstance(value, bool) and abs(value) >= 10**_MAX_DIGITS:
            return float(value) if abs(value) < 10**300 else float("inf")
        case _:
            return value
