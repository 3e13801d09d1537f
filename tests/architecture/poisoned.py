"""A pytest plugin that makes unpickling impossible, before anything else is imported: `-p poisoned`.

Whoever keeps a reference to the real functions all the same is caught by the interpreter's own audit event.
"""

import _pickle
import pickle
import sys
from typing import Any, NoReturn

WORDS = "something was unpickled"


class UnpickledError(BaseException):
    """Nobody may catch it by catching Exception."""


def refuse(*_: object, **__: object) -> NoReturn:
    raise UnpickledError(WORDS)


class Unpickler:
    """Stands where unpicklers stood: modules may name it and inherit from it, but not make one."""

    dispatch: dict[Any, Any] = pickle._Unpickler.dispatch  # joblib adds to it when it is imported

    __init__ = refuse


def audit(event: str, _: object) -> None:
    if event == "pickle.find_class":
        raise UnpickledError(WORDS)


for module in (pickle, _pickle):
    module.load = module.loads = refuse
    module.Unpickler = Unpickler
pickle._load = pickle._loads = refuse
pickle._Unpickler = Unpickler
sys.addaudithook(audit)

# skops looks through all of scikit-learn, and so imports its bridge to dask where that is installed (only who trains on a
# cluster has it); dask then pickles functions of its own and reads them back, from no file and no message
sys.modules["dask"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402  poisoned first

real_load = np.load


def load(*arguments: Any, allow_pickle: bool = False, **given: Any) -> Any:
    if allow_pickle or (len(arguments) > 2 and arguments[2]):
        refuse()
    return real_load(*arguments, allow_pickle=False, **given)


np.load = load
for name in ("joblib", "cloudpickle", "dill"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.modules[name].load = refuse
    sys.modules[name].loads = refuse
