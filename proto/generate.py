"""Generate `libs/proto` from `proto/millrace/v1`. Run by `make proto`; `make proto-check` runs it with --check.

The files are mapped into the Python package `millrace_proto` on protoc's own path, so that no import has to be
rewritten afterwards and the name `millrace` stays free for the SDK.
"""

import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "proto" / "millrace" / "v1"
PACKAGE = "millrace_proto/v1"
TARGET = ROOT / "libs" / "proto" / "src"


def generate(into: Path) -> None:
    """Write `<into>/millrace_proto/v1/*_pb2.py[i]`. Exits with protoc's message when a contract does not compile."""
    into.mkdir(parents=True, exist_ok=True)
    files = [f"{PACKAGE}/{path.name}" for path in sorted(CONTRACTS.glob("*.proto"))]
    arguments = [
        "protoc",
        f"-I{PACKAGE}={CONTRACTS}",
        f"--python_out={into}",
        f"--pyi_out={into}",
        *files,
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc refused the contracts; its message stands above")
    for folder in (into / "millrace_proto", into / PACKAGE):
        (folder / "__init__.py").write_text(
            '"""Generated from proto/ by `make proto`; never edited."""\n'
        )
    (into / "millrace_proto" / "py.typed").touch()


def stale() -> list[str]:
    """The generated files that are not what the contracts say."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()}
        committed = {
            path.relative_to(TARGET)
            for path in TARGET.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        differing = {
            name
            for name in fresh & committed
            if not filecmp.cmp(Path(folder) / name, TARGET / name, shallow=False)
        }
        return sorted(str(name) for name in differing | (fresh - committed) | (committed - fresh))


if __name__ == "__main__":
    if "--check" in sys.argv:
        if names := stale():
            sys.exit(
                f"generated code is stale ({', '.join(names)}); run `make proto` and commit the result"
            )
    else:
        generate(TARGET)
