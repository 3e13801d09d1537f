"""scikit-learn models in skops' safe format: for inspection and retraining, never needed to answer.

The types that may be made on reading are fixed here and never come from the file: a list taken from the file would let
the file decide what runs (CVE-2025-54886 and its kin).
"""

import io
import json
import re
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from millrace_artifacts.errors import UnreadableArtifactError

# beyond what skops trusts by itself: the arrays' types, and the compiled trees of forests
TRUSTED_TYPES = ("numpy.dtype", "sklearn.tree._tree.Tree")
_DATE = (1980, 1, 1, 0, 0, 0)
_SCHEMA = "schema.json"
_ARRAY = re.compile(r"(\d+)\.npy")


def dump_sklearn(estimator: object) -> bytes:
    """A fitted scikit-learn estimator as skops. Equal estimators give equal bytes: skops numbers objects by where they
    stand in memory, here they are numbered in the order in which they appear."""
    import skops.io

    with ZipFile(io.BytesIO(skops.io.dumps(estimator))) as source:
        schema = json.loads(source.read(_SCHEMA))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, numbers, files)
        target = io.BytesIO()
        with ZipFile(target, "w", ZIP_STORED) as archive:
            for old, new in files.items():
                archive.writestr(ZipInfo(new, _DATE), source.read(old))
            archive.writestr(ZipInfo(_SCHEMA, _DATE), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def load_sklearn(content: bytes) -> Any:  # noqa: ANN401 - whatever estimator it is
    """The estimator that `dump_sklearn` wrote. Raises UnreadableArtifactError for damage or a type that is not trusted."""
    import skops.io

    try:
        return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except (
        Exception
    ) as error:  # types that are not trusted, and whatever damage makes skops stumble over
        raise UnreadableArtifactError(
            f"not a scikit-learn model that may be opened: {error}"
        ) from error


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:  # noqa: ANN401 - JSON
    """Renumbers ids and array files in place, in the order of the document."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, numbers, files)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("__id__"), int):
        node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
    if isinstance(node.get("file"), str):
        match = _ARRAY.fullmatch(node["file"])
        number = numbers.setdefault(int(match[1]), len(numbers)) if match else len(numbers)
        new = f"{number}.npy" if match else f"{len(files)}.bin"
        node["file"] = files.setdefault(node["file"], new)
    for item in node.values():
        _renumber(item, numbers, files)
