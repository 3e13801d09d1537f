"""The zip that an artifact is: files as they are, in one order, with one date, so that equal files are equal bytes."""

import io
import struct
from collections.abc import Mapping
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from millrace_artifacts.errors import UnreadableArtifactError

LARGEST_ARTIFACT = 256 * 1024 * 1024  # bytes; a forest of 20,000 rows is about 10 MB
_LONGEST_FILE_LIST = 16
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_DAMAGE = (
    BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The files in their order."""
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_STORED) as archive:
        for name, content in files.items():
            info = ZipInfo(name, _DATE)
            info.create_system = 3  # Unix, whatever machine writes it
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return target.getvalue()


def unzipped(content: bytes) -> dict[str, bytes]:
    """The files by name. Raises UnreadableArtifactError for what `zipped` does not write."""
    if len(content) > LARGEST_ARTIFACT:
        raise UnreadableArtifactError(
            f"{len(content)} bytes; an artifact has at most {LARGEST_ARTIFACT}"
        )
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, len(content))
            return {entry.filename: archive.read(entry) for entry in entries}
    except _DAMAGE as error:
        raise UnreadableArtifactError(f"not a readable zip: {error}") from error


def _check_entries(entries: list[ZipInfo], limit: int) -> None:
    """Stored files are as large as the bytes they take, and together no larger than the zip: nothing can unfold."""
    if len(entries) > _LONGEST_FILE_LIST or len({entry.filename for entry in entries}) != len(
        entries
    ):
        raise UnreadableArtifactError(f"{len(entries)} files, or two of one name")
    if any(
        entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size
        for entry in entries
    ):
        raise UnreadableArtifactError(
            "a file is compressed; artifacts hold their files as they are"
        )
    if sum(entry.file_size for entry in entries) > limit:
        raise UnreadableArtifactError("its files are larger than the zip itself")
