"""What the process begins with."""

import subprocess
import sys
from importlib.util import find_spec

from millrace_training import __main__ as main


def test_what_the_fork_server_imports_is_there():
    """It leaves out in silence what it can't find."""
    assert all(find_spec(name) for name in main._PRELOADED)


def test_the_fork_server_is_started_before_anything_heavy_is_imported():
    loaded = "import sys, millrace_training.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )

    assert not {"sqlalchemy", "numpy", "pyarrow", "msgspec"} & set(done.stdout.split())
