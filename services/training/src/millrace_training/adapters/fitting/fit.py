"""The function that a child process runs."""

from millrace_training.adapters.fitting.job import FitJob, FitResult


def fit_candidates(job: FitJob) -> FitResult:
    """Choose, fit, measure and pack a model. See `procedure.run` and, for an update, `updating` for how.

    Deterministic: the same job on the same machine gives the same bytes, unless a search met its timeout. It writes
    nothing anywhere, so its process may be killed at any time. Raises FitError for a dataset or a job from which nothing
    can be learnt. Imports the model libraries only when called: seconds, unless `preload` was imported before the fork.
    """
    from millrace_training.adapters.fitting import procedure, updating

    return updating.run_update(job) if job.update else procedure.run(job)
