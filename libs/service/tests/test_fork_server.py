"""A fork server that has imported what its children need before they are asked for."""

import subprocess
import sys

PROGRAM = """
import sys
before = set(sys.modules)
from millrace_service.fork_server import start_fork_server
packages = {name.split(".")[0] for name in set(sys.modules) - before} - {"__mp_main__"}
assert packages - sys.stdlib_module_names == {"millrace_service"}, packages

from multiprocessing import forkserver, get_context
start_fork_server("colorsys", "this_is_nowhere", "tabnanny")
server = forkserver._forkserver._forkserver_pid
assert server is not None, "it runs now, not when the first child is wanted"
assert "colorsys" not in sys.modules, "this process imports nothing"
with get_context("forkserver").Pool(1) as pool:
    loaded = "[name in __import__('sys').modules for name in ('colorsys', 'tabnanny')]"
    print(pool.apply(eval, (loaded,)))
    pool.close()
    pool.join()
assert forkserver._forkserver._forkserver_pid == server, "and it is the one that the child came from"
"""


def test_its_children_have_what_was_named_without_importing_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[True, True]\n", "")
