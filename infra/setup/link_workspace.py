"""Make the workspace's own packages importable in the environment that runs this file.

Every `libs/*/` and `services/*/` is a package of its own with a `src/` layout. Instead of two dozen editable
installs (seconds each, and stale when a package is added) one `.pth` file lists the `src` folders, and a
`millrace` script calls the command. Doing it again changes nothing, and costs milliseconds.
"""

import stat
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """#!{python}
import sys

from millrace.cli import main

sys.exit(main())
"""


def source_folders(root: Path) -> list[Path]:
    """The `src` folder of each package, libraries first."""
    packages = [*sorted(root.glob("libs/*")), *sorted(root.glob("services/*"))]
    return [package / "src" for package in packages if (package / "pyproject.toml").is_file()]


def write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def main() -> None:
    if sys.prefix == sys.base_prefix:
        sys.exit("link_workspace: run me with the environment's own Python, e.g. .venv/bin/python")
    folders = source_folders(ROOT)
    packages = Path(sysconfig.get_path("purelib"))
    write_if_changed(packages / "millrace-workspace.pth", "".join(f"{path}\n" for path in folders))
    command = Path(sysconfig.get_path("scripts"), "millrace")
    write_if_changed(command, SCRIPT.format(python=sys.executable))
    command.chmod(command.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main()
