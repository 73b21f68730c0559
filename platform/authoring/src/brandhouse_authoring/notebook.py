"""What a brand's notebook imports: the model's data, features, split, last scores, and a safe place to try things.

    from brandhouse_authoring.notebook import open_model

    price = open_model("price")

Everything is what the training template uses: the same snapshot, contract, split, folds and metric, and the brand's own
`build_features` and `build_estimator`, loaded anew as soon as their file is saved. A notebook sees the brand in whose folder
it lies and no other. Nothing is written, and nothing here scores the hold-out: that is for judging one finished version.
"""

import os
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brandhouse_authoring import notebook_plots as plots
from brandhouse_authoring.trying import Scoreboard, Try, cross_validate
from brandhouse_flows.baselines import build_baselines
from brandhouse_flows.data_project import DataProject, Snapshot
from brandhouse_flows.material import find_groups, read_learnable_rows
from brandhouse_flows.search import TrainingRows
from brandhouse_flows.splits import HoldoutSplit, Target, split_rows
from brandhouse_shared.brands import Brand, ModelCode, code_digest, load_brand_module, read_brand
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError, DatasetError
from brandhouse_shared.features import build_model_input
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings

BuildFeatures = Callable[[pd.DataFrame], pd.DataFrame]
VERSION_COLUMNS = ["version", "stage", "metric", "score", "low", "high", "baseline", "gates passed", "candidate", "params", "trained"]
SLICE_COLUMNS = ["column", "value", "rows", "score", "low", "high", "reason"]


def open_model(model: str | None = None, *, folder: str | Path | None = None) -> "OpenModel":
    """Open a model of the brand in whose folder the notebook lies.

    Args:
        model: Its name in `brand.toml`; may be left out if the brand has one only.
        folder: Any place at or below the brand's folder; by default the notebook's.

    Raises:
        BrandhouseError: If the place is in no brand's folder.
        UnknownModelError, BrandConfigError: If the brand declares no such model, or its `brand.toml` is not valid.
    """
    place = Path(folder).resolve() if folder else _notebook_folder()
    brand_folder = _find_brand_folder(place)
    settings = load_settings(brand_folder)
    if brand_folder.parent != settings.brands_dir.resolve():
        raise BrandhouseError(f"{brand_folder} is in another workspace than {settings.root}; unset BRANDHOUSE_ROOT")
    brand = read_brand(brand_folder)
    name = model or next(iter(brand.config.models), "")
    if model is None and len(brand.config.models) > 1:
        raise BrandhouseError(f"{brand.name} has several models; say which: open_model({name!r})")
    return OpenModel(settings, brand, name, brand.model(name))


def _notebook_folder() -> Path:
    """The notebook's folder: where its kernel was started, unless the editor says that it lies elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    told = (shell.user_ns.get("__vsc_ipynb_file__") if shell else None) or os.environ.get("JPY_SESSION_NAME", "")
    path = Path(told)
    return path.parent.resolve() if path.is_absolute() and path.is_file() else Path.cwd()


def _find_brand_folder(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / "brand.toml").is_file():
            return folder
    raise BrandhouseError(
        f"{start} is in no brand's folder; open the notebook from brands/<name>/notebooks, or name a place: open_model(folder=...)"
    )


class OpenModel:
    """One model of one brand, as its training sees it.

    Rows, features and target have the same index: the position in the snapshot after rows without a target are left out, in
    time order where the split is by time.
    """

    def __init__(self, settings: Settings, brand: Brand, name: str, model: ModelConfig) -> None:
        self._settings = settings
        self._brand = brand
        self._features: tuple[str, pd.DataFrame] | None = None
        self.key = ModelKey(brand.name, name)
        self.declared = model
        """What `brand.toml` says about the model."""
        self._scoreboard = Scoreboard(model.metric_spec)

    def __repr__(self) -> str:
        """Say what was opened."""
        model = self.declared
        return f"{self.key}: {model.task} of {model.target!r} from dataset {model.dataset!r}, judged by {model.metric}"

    # -- data ----------------------------------------------------------------------------------------------------

    @cached_property
    def snapshot(self) -> Snapshot:
        """The bytes that the committed pointer names; brought in if they are not on this machine."""
        project, dataset = DataProject(self._brand, self._settings), self.declared.dataset
        try:
            pointer = project.pointer(dataset)
            path = project.fetch(dataset, pointer.hash_md5)
        except DatasetError:  # never imported here: the import says what is wrong, or rebuilds it from its source
            return project.import_source(dataset)
        file = self._brand.config.datasets[dataset].file
        return Snapshot(dataset, file, pointer.hash_md5, path.stat().st_size, path, changed=False)

    @cached_property
    def _learnable(self) -> tuple[pd.DataFrame, Target]:
        return read_learnable_rows(self._brand, self.declared, str(self.key), self.snapshot)

    @property
    def table(self) -> pd.DataFrame:
        """All columns of the dataset as texts, also those that are no input."""
        return self._learnable[0].copy()

    @cached_property
    def _rows(self) -> pd.DataFrame:
        return Contract(self.declared.inputs).parse_table(self._learnable[0], str(self.key))

    @property
    def rows(self) -> pd.DataFrame:
        """One typed column per input field: what `build_features` receives."""
        return self._rows.copy()

    @cached_property
    def target(self) -> "pd.Series[Any]":
        """What is to be predicted: numbers, or classes as in the data."""
        target, index = self._learnable[1], self._learnable[0].index
        values = target.values if not target.classes else np.array(target.classes, dtype=object)[target.values]
        return pd.Series(values, index=index, name=self.declared.target)

    @cached_property
    def split(self) -> HoldoutSplit:
        """Positions of the training rows and of the hold-out: exactly those of the training template."""
        return split_rows(self._learnable[0], self.declared, self._learnable[1].values, str(self.key))

    @property
    def features(self) -> pd.DataFrame:
        """What the brand's `build_features` makes of all rows; computed anew after its file was saved."""
        code, digest = self._load_code(), code_digest(self._brand)
        if self._features is None or self._features[0] != digest:
            self._features = digest, build_model_input(code, self._rows, str(self.key))
        return self._features[1].copy()

    def train(self, frame: Any) -> Any:
        """The training rows of `rows`, `features`, `target` or `table`."""
        return frame.iloc[self.split.train]

    def holdout(self, frame: Any) -> Any:
        """The held-out rows of the same. Look at them to understand a version's errors, not to choose among ideas."""
        return frame.iloc[self.split.holdout]

    @property
    def source_file(self) -> Path:
        """The file of the brand's two functions. What proved good here is written there."""
        _, *parts = self.declared.entrypoint.split(".")
        return self._brand.source_dir.joinpath(*parts).with_suffix(".py")

    def build_features(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Call the brand's `build_features` as its file is now, to add to what it gives."""
        built: pd.DataFrame = self._load_code().build_features(rows)
        return built

    def _load_code(self) -> ModelCode:
        return load_brand_module(self._brand, self.declared.entrypoint)

    # -- overview ------------------------------------------------------------------------------------------------

    def describe_split(self) -> pd.DataFrame:
        """Rows, share and average target of both sides."""
        sides = {"training": self.split.train, "hold-out": self.split.holdout}
        facts = [{"rows": len(rows), "share": len(rows) / len(self.target), **self._centre(rows)} for rows in sides.values()]
        return pd.DataFrame(facts, index=pd.Index(sides, name=f"split: {self.declared.split.kind}"))

    def _centre(self, rows: Any) -> dict[str, float]:
        values = self._learnable[1].values[rows]
        classes = self._learnable[1].classes
        if not classes:
            return {f"median {self.declared.target}": float(np.median(values))}
        return {f"share of {name!r}": float((values == code).mean()) for code, name in enumerate(classes[:5])}

    def describe_inputs(self) -> pd.DataFrame:
        """Each input field: type, privacy, missing and distinct values, and the range or the most frequent value."""
        train = self.train(self._rows)
        facts = [plots.summarise(train[name], field) for name, field in self.declared.inputs.items()]
        return pd.DataFrame(facts, index=pd.Index(self.declared.inputs, name="field"))

    def plot_target(self) -> plots.Picture:
        """The target's distribution in the training rows."""
        return plots.draw_target(self.train(self.target))

    def plot_inputs(self, *names: str) -> plots.Picture:
        """Distributions of the named fields, or of all, in the training rows."""
        unknown = [name for name in names if name not in self.declared.inputs]
        if unknown:
            raise BrandhouseError(f"{self.key}: {unknown[0]!r} is no input; inputs: {', '.join(self.declared.inputs)}")
        fields = {name: self.declared.inputs[name] for name in names or self.declared.inputs}
        return plots.draw_inputs(self.train(self._rows), fields)

    # -- what the ledger knows -----------------------------------------------------------------------------------

    def _registered(self) -> list[Version]:
        with open_ledger(self._settings.ledger_url.get_secret_value()) as ledger:
            return [version for version in ledger.versions(self.key) if version.record.kind == "candidate"]

    def versions(self) -> pd.DataFrame:
        """Registered versions, newest first: score on the hold-out with its interval, beside the best baseline."""
        lines = [
            (
                f"v{version.number}",
                str(version.stage),
                record.metric,
                record.score,
                record.score_low,
                record.score_high,
                record.baseline_score,
                record.gates_passed,
                record.candidate_name,
                record.params,
                record.created_at,
            )
            for version in self._registered()
            for record in [version.record]
        ]
        return pd.DataFrame(lines, columns=VERSION_COLUMNS)

    def slices(self) -> pd.DataFrame:
        """The newest version's score by slice, with intervals; empty if there is no version or no slice."""
        newest = self._registered()[:1]
        found = [item for version in newest for item in version.record.slices]
        return pd.DataFrame(found, columns=SLICE_COLUMNS)

    def plot_slices(self) -> plots.Picture:
        """The newest version's slices with their intervals, and its score on the whole hold-out."""
        newest = self._registered()[:1]
        if not newest:
            return plots.say(f"no version yet: brandhouse train {self.key}")
        return plots.draw_slices(self.slices(), newest[0].record.metric, newest[0].record.score)

    # -- trying --------------------------------------------------------------------------------------------------

    def try_estimator(
        self, estimator: Any = None, *, build_features: BuildFeatures | None = None, name: str = "", **params: Any
    ) -> pd.DataFrame:
        """Cross-validate an idea on the training rows, and return all ideas so far, best first, beside two baselines.

        The folds are those of the template's search, so that ideas compare. The hold-out is left alone: whoever chooses among
        many ideas by the hold-out finds one that is good there by luck. It judges once, when `brandhouse train` runs.

        Args:
            estimator: An unfitted scikit-learn estimator; by default the brand's own `build_estimator(**params)`.
            build_features: Features to try; by default the brand's own.
            name: What to call it in the table.
            params: For the brand's `build_estimator`.

        Raises:
            EntrypointError: If building features or fitting fails.
        """
        code = self._load_code()
        features = self.features if build_features is None else build_model_input(_Idea(build_features), self._rows, str(self.key))
        rows = TrainingRows(self.train(features), self._learnable[1].values[self.split.train], self._train_groups())
        if not self._scoreboard.tries:
            baselines = build_baselines(self.declared.task, rows.features)
            self._scoreboard.add(*(cross_validate(self.declared, rows, Try(f"baseline: {one}", two)) for one, two in baselines.items()))
        attempt = Try(name or _name_of(estimator, build_features, params), estimator, params)
        self._scoreboard.add(cross_validate(self.declared, rows, attempt, code))
        return self.tried

    @property
    def tried(self) -> pd.DataFrame:
        """All ideas of this notebook, best first: mean over the folds, the folds' spread and range."""
        return self._scoreboard.as_frame()

    def plot_tried(self) -> plots.Picture:
        """Each idea's folds and their mean."""
        return plots.draw_tries(self._scoreboard.ordered(), self.declared.metric)

    def _train_groups(self) -> Any:
        groups = find_groups(self.declared, self._learnable[0])
        return None if groups is None else groups[self.split.train]


class _Idea:
    """Features that are tried in place of the brand's."""

    def __init__(self, build_features: BuildFeatures) -> None:
        self.build_features = build_features

    def build_estimator(self, **params: Any) -> Any:
        """Not asked: the estimator comes from elsewhere."""
        raise NotImplementedError


def _name_of(estimator: Any, build_features: BuildFeatures | None, params: dict[str, Any]) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in params.items())
    what = type(estimator).__name__ if estimator is not None else f"build_estimator({settings})"
    return what if build_features is None else f"{what} on {getattr(build_features, '__name__', 'other features')}"
