"""Imports everything that a fit needs, once, for a forkserver: `set_forkserver_preload([preload.__name__])`. What the environment
is, too, is the same for all that are forked: of the code as it was when it was imported.

Nothing here may start a thread (a session, an OpenMP region, a store): a fork would lose it.
"""

import onnxruntime  # noqa: F401
import skops.io  # noqa: F401

from millrace_training.adapters.fitting import procedure  # noqa: F401
from millrace_training.adapters.fitting.environment import environment

environment()
