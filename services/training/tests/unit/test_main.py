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


STARTED = """
import sys, types
from multiprocessing import forkserver
from millrace_training import __main__ as main

def serve():
    print(forkserver._forkserver._forkserver_pid is not None, *forkserver._forkserver._preload_modules)
    print({"sqlalchemy", "numpy", "pyarrow", "msgspec"} & set(sys.modules))

sys.modules["millrace_training.entrypoints.service"] = types.SimpleNamespace(serve=serve)
main.main()
"""


def test_the_fork_server_imports_while_the_service_does():
    """The service stands aside here, to say what it found when it was called."""
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True)

    assert done.stdout.splitlines() == [f"True {' '.join(main._PRELOADED)}", "set()"], done.stderr
