"""SQL, the lake, the object store, the child processes, the wire.

`wire`, `sql`, `tables` and `migrations` are here what they are in every service with SQL. Of training alone: what it learns
from (`lake`), what learns (`fitting`), what describes it (`cards`), who has all that done (`running`), and the child
processes that do it (`processes`).
"""
