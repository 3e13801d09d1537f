"""What a pipeline file asks of its models beside their kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace_kernel.pipeline import Model, Scalar

SKLEARN = ("sklearn.",)
ISOTONIC, PLATT = "isotonic", "platt"


@dataclass(frozen=True, slots=True)
class Options:
    """`balance`: rare classes weigh as much as frequent ones. `calibration`: ISOTONIC, PLATT or None. `quantiles` (growing, 0.5
    among them) and `interval` (the share of truths that it holds) are a regression's. `parameters`: of candidates named by
    import path. `modules`: what such a path may begin with.
    """

    balance: bool = False
    calibration: str | None = None
    quantiles: tuple[float, ...] = ()
    interval: float | None = None
    parameters: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    modules: tuple[str, ...] = SKLEARN


DEFAULT_OPTIONS = Options()


def options_of(model: Model, modules: tuple[str, ...] = SKLEARN) -> Options:
    """What the model section of a pipeline file says."""
    return Options(
        balance=model.balance,
        calibration=model.calibration,
        quantiles=model.quantiles,
        interval=model.interval,
        parameters={name: dict(given) for name, given in model.parameters},
        modules=modules,
    )
