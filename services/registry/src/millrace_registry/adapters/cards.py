"""Model cards, read from the object store that training wrote them to."""

import json
from typing import Any

from millrace_artifacts.store import ObjectStore
from millrace_registry.application.views import CardDocument
from millrace_registry.domain.errors import UnreadableCardError


class StoredCards:
    """`application.views.Cards`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, uri: str, sha256: str) -> CardDocument:
        """Only the very card that was announced. Raises UnreadableCardError, and what `ObjectStore.get` raises."""
        try:
            document: Any = json.loads(self._store.get(uri, sha256))
        except ValueError as error:
            raise UnreadableCardError(f"{uri} is no model card: {error}") from error
        match document:
            case {"markdown": str(markdown), "html": str(html)}:
                return CardDocument(markdown, html, document.get("facts"))
            case _:
                raise UnreadableCardError(f"{uri} is no model card: markdown and html are missing")
