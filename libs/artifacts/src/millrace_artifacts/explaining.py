"""Explaining in a process of its own: `python -m millrace_artifacts.explaining` answers questions on stdin until it ends.

A model's own library is opened here and nowhere else: what crashes it, fills the memory or never ends is killed from
outside and takes nobody along. What is said is MessagePack of two fixed types behind its length; neither side unpickles.
"""

import os
import resource
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import msgspec
import numpy as np

from millrace_artifacts.archive import LARGEST_ARTIFACT
from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.errors import ArtifactError
from millrace_artifacts.explain import Explained, Explainer, Space, load_explainer

LONGEST = LARGEST_ARTIFACT + (64 << 20)  # bytes of a message: an artifact, and some rows

_HEAD = struct.Struct(">I")
_MODELS = 16  # explainers that are kept, of the newest that were asked for
_MEMORY = 4 * 1024**3  # bytes of address space
_NICER = 5  # answers go first


class Question(msgspec.Struct, array_like=True, frozen=True):
    """`numbers` is float64 [rows, numbers] as its bytes in row order. `artifact` comes when it has been asked for."""

    digest: str
    rows: int
    numbers: bytes
    categories: list[tuple[str, ...]]
    artifact: bytes | None = None


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """One of three: an explanation (see `Explained`, its arrays as bytes), what is wrong, or neither: send the artifact."""

    space: str = ""
    base: bytes = b""
    contributions: bytes = b""
    problem: str = ""

    @property
    def wants_artifact(self) -> bool:
        return not self.space and not self.problem

    def explained(self, rows: int) -> Explained:
        """Raises ValueError for arrays that do not fit each other."""
        base = np.frombuffer(self.base)
        shares = np.frombuffer(self.contributions).reshape(rows, -1, len(base))
        return Explained(Space(self.space), base, shares)


def framed(message: msgspec.Struct) -> bytes:
    """A message behind its length."""
    content = msgspec.msgpack.encode(message)
    return _HEAD.pack(len(content)) + content


def length_of(head: bytes) -> int:
    """Of the message behind these four bytes. Raises ValueError for one that is too long to be one."""
    length: int = _HEAD.unpack(head)[0]
    if length > LONGEST:
        raise ValueError(f"a message of {length} bytes; at most {LONGEST}")
    return length


HEAD_BYTES = _HEAD.size


class Explainers:
    """Answers questions; keeps the explainers that were asked for last."""

    def __init__(self, most: int = _MODELS) -> None:
        self._most = most
        self._known: OrderedDict[str, Explainer] = OrderedDict()

    def answer(self, question: Question) -> Reply:
        try:
            explainer = self._explainer(question)
            if explainer is None:
                return Reply()
            numbers = np.frombuffer(question.numbers).reshape(question.rows, -1)
            explained = explainer.explain(numbers, question.categories)
        except ArtifactError as error:
            return Reply(problem=str(error))
        except Exception as error:  # noqa: BLE001  whatever a model library raises: told to whoever asked
            return Reply(problem=f"the model can't be explained: {type(error).__name__}: {error}")
        return Reply(
            explained.space,
            np.ascontiguousarray(explained.base).tobytes(),
            np.ascontiguousarray(explained.contributions).tobytes(),
        )

    def _explainer(self, question: Question) -> Explainer | None:
        if question.digest in self._known:
            self._known.move_to_end(question.digest)
        elif question.artifact is None:
            return None
        else:
            self._known[question.digest] = load_explainer(read_artifact(question.artifact))
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return self._known[question.digest]


def serve(source: BinaryIO, target: BinaryIO, answer: Callable[[Question], Reply]) -> None:
    """Answer until the source ends."""
    decode = msgspec.msgpack.Decoder(Question).decode
    while len(head := source.read(HEAD_BYTES)) == HEAD_BYTES:
        target.write(framed(answer(decode(source.read(length_of(head))))))
        target.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(_NICER)
    # what a library prints must not stand between the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers, Explainers().answer)


if __name__ == "__main__":
    main()
