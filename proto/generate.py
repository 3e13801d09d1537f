"""Generate `libs/proto` from `proto`. Run by `make proto`; `make proto-check` runs it with --check.

The files are mapped into their Python packages on protoc's own path, so that no import has to be rewritten afterwards
and the name `millrace` stays free for the SDK. The bus's contracts go to `millrace_proto`; the Open Inference
Protocol, which others define and only serving speaks, stands apart in `open_inference_proto`.
"""

import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "millrace_proto/v1": ROOT / "proto" / "millrace" / "v1",
    "open_inference_proto": ROOT / "proto" / "inference",
}  # by the package that each becomes
TARGET = ROOT / "libs" / "proto" / "src"


def generate(into: Path) -> None:
    """Write `<into>/<package>/*_pb2.py[i]`. Exits with protoc's message when a contract does not compile."""
    into.mkdir(parents=True, exist_ok=True)
    for package, source in SOURCES.items():
        files = [f"{package}/{path.name}" for path in sorted(source.glob("*.proto"))]
        arguments = [
            "protoc",
            f"-I{package}={source}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            *files,
        ]
        if protoc.main(arguments) != 0:
            sys.exit("protoc refused the contracts; its message stands above")
        (into / package.split("/")[0] / "py.typed").touch()
        for folder in {into / package, into / package.split("/")[0]}:
            (folder / "__init__.py").write_text(
                '"""Generated from proto/ by `make proto`; never edited."""\n'
            )


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
