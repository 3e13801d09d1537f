"""Names and ids. Ids are derived from what caused them, so that doing a thing twice gives the same id."""

import hashlib
from typing import NewType
from uuid import UUID

PipelineName = NewType("PipelineName", str)
EntityId = NewType("EntityId", str)
EventId = NewType("EventId", str)
RunId = NewType("RunId", str)
ModelVersionNumber = NewType("ModelVersionNumber", int)  # 1, 2, … within a pipeline; 0 is the fallback before any model

# uuid5(NAMESPACE_URL, "https://millrace.dev/ids"): fixed for ever, or ids would change meaning
_NAMESPACE = UUID("462e110f-f6b2-5f2c-8581-1843d89ccbe8").bytes
_SEPARATOR = "\x1f"


def derived_id(*parts: str) -> str:
    """The uuid5 of the parts (RFC 9562, section 5.5). Equal parts give the equal id, on every machine, for ever."""
    name = _SEPARATOR.join(parts).encode()
    digest = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
