"""`python -m millrace_training`."""

from millrace_service.fork_server import start_fork_server

_PRELOADED = (
    "millrace_training.adapters.processes.children",
    "millrace_training.adapters.fitting.preload",
)


def main() -> None:
    """The model libraries take seconds to import, the service's own as well: the two go on side by side, because after a
    crash a run waits for both."""
    start_fork_server(*_PRELOADED)

    from millrace_training.entrypoints.service import serve

    serve()


if __name__ == "__main__":
    main()
