"""Names and ids. Ids are derived from what caused them, so that doing a thing twice gives the same id."""

import hashlib
from typing import NewType
from uuid import UUID

PipelineName = NewType("PipelineName", str)
EntityId = NewType("EntityId", str)
EventId = NewType("EventId", str)
RunId = NewType("RunId", str)
ModelVersionNumber = NewType(
    "ModelVersionNumber", int
)  # 1, 2, … within a pipeline; 0 is the fallback before any model

# uuid5(NAMESPACE_URL, "https://millrace.dev/ids"): fixed for ever, or ids would change meaning
_NAMESPACE = UUID("462e110f-f6b2-5f2c-8581-1843d89ccbe8").bytes
_SEPARATOR = "\x1f"
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derived_id(*parts: str) -> str:
    """The uuid5 of the parts (RFC 9562, section 5.5). Equal parts give the equal id, on every machine, for ever."""
    return _uuid5_text(
        hashlib.sha1(
            _NAMESPACE + _SEPARATOR.join(parts).encode(), usedforsecurity=False
        ).hexdigest()
    )


class DerivedIds:
    """`derived_id(*first, last)` for many last parts: what is before them is hashed once."""

    __slots__ = ("_begun",)

    def __init__(self, *first: str) -> None:
        prefix = "".join(part + _SEPARATOR for part in first).encode()
        self._begun = hashlib.sha1(_NAMESPACE + prefix, usedforsecurity=False)

    def of(self, last: bytes) -> str:
        """The id for the last part, given as UTF-8."""
        hashed = self._begun.copy()
        hashed.update(last)
        return _uuid5_text(hashed.hexdigest())


def _uuid5_text(digest: str) -> str:
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"
