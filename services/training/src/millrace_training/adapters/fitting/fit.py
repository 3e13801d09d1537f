"""The function that a child process runs."""

from collections.abc import Callable

from millrace_training.adapters.fitting.job import FitJob, FitResult, TrialResult, for_models


def _nobody(trial: TrialResult) -> None:
    """Waits for the result."""


def fit_candidates(job: FitJob, tell: Callable[[TrialResult], None] = _nobody) -> FitResult:
    """Choose, fit, measure and pack a model. See `procedure.run` and, for an update, `updating` for how.

    Deterministic: the same job on the same machine gives the same bytes, but for what clocks decide: how far a search came
    by its timeout, and which of two engines is much faster. Both are in the result's `winner`, and a job that names it gives
    the same bytes always. `tell` hears of every trial of a search as it ends. It writes nothing anywhere, so its process may
    be killed at any time. Raises FitError for a dataset or a job from which nothing can be learnt. Imports the model libraries only when called: seconds, unless `preload` was imported before the fork.
    """
    from millrace_training.adapters.fitting.reading.sentences import sentences_read

    with sentences_read(for_models(job)) as understood:
        return _fitted(understood, tell)


def _fitted(job: FitJob, tell: Callable[[TrialResult], None]) -> FitResult:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from millrace_training.adapters.fitting import procedure, updating

    # for all libraries and all of the fit: XGBoost goes over the rows that it is given with as many threads as OpenMP lets
    # it, whatever its own setting, and that they spin is half of what an update costs
    with threadpool_limits(limits=job.threads):
        if job.cluster is not None:
            from millrace_training.adapters.fitting.cluster import fits

            return fits.run(job, job.cluster, tell)
        return updating.run_update(job) if job.update else procedure.run(job, tell)
