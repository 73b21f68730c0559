"""The metrics a model may be judged by: name, task, direction. No engine is needed to know them.

How each is computed is in `brandhouse_flows.scores`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What a model learns."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: As written in `brand.toml`.
        tasks: The tasks it fits.
        greater_is_better: Its direction.
        description: One line for cards and docs.
    """

    name: str
    tasks: frozenset[Task]
    greater_is_better: bool
    description: str


_REGRESSION = frozenset({Task.REGRESSION})
_BINARY = frozenset({Task.BINARY})
_CLASSES = frozenset({Task.BINARY, Task.MULTICLASS})

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("rmse", _REGRESSION, False, "root mean squared error, in the target's unit"),
        Metric("mae", _REGRESSION, False, "mean absolute error, in the target's unit"),
        Metric("mape", _REGRESSION, False, "mean absolute percentage error, as a share"),
        Metric("r2", _REGRESSION, True, "share of variance explained"),
        Metric("roc_auc", _BINARY, True, "chance that a positive row is ranked above a negative one"),
        Metric("average_precision", _BINARY, True, "area under precision and recall, for rare positives"),
        Metric("brier", _BINARY, False, "mean squared error of the probability"),
        Metric("log_loss", _CLASSES, False, "mean negative log likelihood"),
        Metric("accuracy", _CLASSES, True, "share of rows labelled rightly"),
        Metric("balanced_accuracy", _CLASSES, True, "mean recall of the classes"),
        Metric("f1", _BINARY, True, "harmonic mean of precision and recall of the positive class"),
        Metric("macro_f1", _CLASSES, True, "mean F1 of the classes"),
    )
}


def metrics_for(task: Task) -> list[str]:
    """Names of the metrics that fit `task`."""
    return sorted(name for name, metric in METRICS.items() if task in metric.tasks)
