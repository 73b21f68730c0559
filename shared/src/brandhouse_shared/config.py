"""What a brand declares: the shape of `brand.toml`.

Frozen and closed (`extra="forbid"`). Never reads the environment; where a process runs is in `settings`.
The JSON Schema that editors use is generated from these classes (`docs/reference/brand.schema.json`).
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from brandhouse_shared.alerts import Alerts as Alerts
from brandhouse_shared.declarations import SECRET_PREFIX, Share, Source, secret_names
from brandhouse_shared.declarations import Declared as Declared
from brandhouse_shared.declarations import FileSource as FileSource
from brandhouse_shared.declarations import PackageSource as PackageSource
from brandhouse_shared.declarations import Schedule as Schedule
from brandhouse_shared.metrics import METRICS, Metric, Task, metrics_for
from brandhouse_shared.names import NAME_RULE, is_name
from brandhouse_shared.operation import DEFAULT_MAX_BODY_BYTES as DEFAULT_MAX_BODY_BYTES
from brandhouse_shared.operation import Fairness as Fairness
from brandhouse_shared.operation import Infra as Infra
from brandhouse_shared.operation import Monitoring as Monitoring
from brandhouse_shared.operation import Retraining as Retraining
from brandhouse_shared.operation import Serving as Serving
from brandhouse_shared.operation import Trial as Trial

Scalar = str | int | float | bool


class Risk(StrEnum):
    """How much harm a wrong prediction can do. Drives who may promote."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


PEOPLE = {Risk.LOW: 0, Risk.MEDIUM: 0, Risk.HIGH: 2}
"""Different people who must agree before a version answers users. 0: the platform may promote what passed its gates and its trial."""


class Isolation(StrEnum):
    """Whether a brand shares worker and serving processes (pool) or has its own (silo)."""

    POOL = "pool"
    SILO = "silo"


class FieldType(StrEnum):
    """The type of one input field, in the data and in requests alike."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    TEXT = "text"
    DATE = "date"


class Privacy(StrEnum):
    """How a field's values may be kept. Not the same axis as `Risk`."""

    PUBLIC = "public"
    PERSONAL = "personal"
    SENSITIVE = "sensitive"


class InputField(Declared):
    """One field of a model's input schema: what ingest, training and serving all check."""

    type: FieldType
    """number, integer, boolean, category, text or date."""

    nullable: bool = False
    """Whether the value may be missing: an empty cell in data, null or no key in a request."""

    min: float | None = None
    """Smallest allowed number."""

    max: float | None = None
    """Largest allowed number."""

    values: tuple[Scalar, ...] | None = None
    """Allowed values of a category, as in the data. None: any text."""

    others: bool = False
    """Whether a category takes values beyond `values` too: texts, and whole numbers where `values` holds some."""

    max_length: int = Field(default=20_000, ge=1)
    """Longest allowed text, in characters."""

    format: str = "%Y-%m-%d"
    """strptime format of a date, as in the data."""

    privacy: Privacy = Privacy.PUBLIC
    """Personal and sensitive values never reach logs, messages or the prediction log."""

    description: str = ""
    """One line, shown in the API's documentation."""

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        numeric = self.type in (FieldType.NUMBER, FieldType.INTEGER)
        if not numeric and (self.min is not None or self.max is not None):
            raise ValueError(f"min and max are for number and integer, not for {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.values is not None and self.type is not FieldType.CATEGORY:
            raise ValueError(f"values are for category, not for {self.type}")
        if self.others and self.values is None:
            raise ValueError("others is for a category with values; without values any text is allowed anyway")
        if self.values is not None and not self.values:
            raise ValueError("values is empty: list the allowed values or leave the key out")
        return self

    @property
    def is_numeric(self) -> bool:
        """Whether the canonical value is a float (number, integer, boolean)."""
        return self.type in (FieldType.NUMBER, FieldType.INTEGER, FieldType.BOOLEAN)


class Dataset(Declared):
    """One tracked data file of a brand and how to read it."""

    file: str
    """Path below the brand's folder, in `data/`; tracked by DVC, never by Git."""
    source: Source
    """Where new bytes come from."""
    format: Literal["csv", "parquet", "zip-text"] = "csv"
    """csv (also .gz, .bz2), parquet, or zip-text (one text a file; columns file, folder, text)."""
    separator: str = ","
    """Character between the cells of a csv file."""
    encoding: str = "utf-8-sig"
    """Text encoding; the default drops a byte-order mark."""
    decimal: str = "."
    """Character before the decimals of a number."""
    thousands: Literal[".", ",", "'", " ", "_"] | None = None
    """Character between the thousands of a number, if the file writes one."""
    units: tuple[str, ...] = ()
    """Signs before or after a number that are dropped where all of a column are numbers then, such as € or %."""
    header: tuple[str, ...] | None = None
    """Column names where the file has no header row."""
    skip_rows: int = Field(default=0, ge=0)
    """Lines of a csv file before its header, or before its first row where `header` names the columns."""
    strip: bool = False
    """Whether blanks at both ends of a cell are dropped. Names of columns keep theirs."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "NULL", "null")
    """Cells that mean: no value."""
    max_bad_share: float = Field(default=0.0, ge=0, le=1)
    """Largest share of rows that may contradict an input schema. They are put in quarantine; with more, the data are refused."""
    schedule: Schedule | None = None
    """When the dataset is ingested by itself."""
    subject: str | None = None
    """Column that says whom a row is about, for `brandhouse forget`. None: rows are about nobody."""

    @field_validator("file")
    @classmethod
    def _stays_in_data(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or path.parts[:1] != ("data",) or len(path.parts) < 2:
            raise ValueError(f"{value!r} must be a file below data/, such as data/listings.csv.gz")
        return value


class Split(Declared):
    """How the hold-out is taken."""

    kind: Literal["random", "grouped", "time"] = "random"
    """random (stratified for classes), grouped (no group on both sides), or time (the newest rows are held out)."""

    by: str | None = None
    """Column of the group or the time."""

    format: str | None = None
    """strptime format of the time column, if it is text."""

    holdout_share: Share = 0.25
    """Share of the rows, or about that of the groups, that no model sees before it is judged."""
    seed: int = 0
    """Of the split, the search and the bootstrap; part of the record of a version."""

    @model_validator(mode="after")
    def _by_fits_the_kind(self) -> Self:
        if (self.by is None) != (self.kind == "random"):
            raise ValueError("by names the column of a grouped or time split; a random split has none")
        return self


class Distribution(Declared):
    """The range of one searched parameter: either `choices`, or `low` and `high`."""

    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Largest value."""
    log: bool = False
    """Whether to draw on a logarithmic scale; needs `low` above 0."""
    integer: bool = False
    """Whether only whole numbers are drawn."""
    choices: tuple[Scalar, ...] | None = None
    """The values to choose from."""

    @model_validator(mode="after")
    def _is_range_or_choices(self) -> Self:
        is_range = self.low is not None and self.high is not None
        if is_range == (self.choices is not None):
            raise ValueError("give either low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low or 0) <= 0:
            raise ValueError("a logarithmic range needs low above 0")
        return self


class Candidate(Declared):
    """One estimator to try: `build_estimator(**params)`."""

    params: dict[str, Scalar] = {}  # noqa: RUF012 - pydantic copies defaults
    """What `build_estimator` is called with."""
    space: dict[str, Distribution] = {}  # noqa: RUF012 - pydantic copies defaults
    """Parameters that are searched, within the model's search budget."""


class Search(Declared):
    """Budget of the search over all candidates' spaces. Ends at whichever is reached first."""

    trials: int = Field(default=10, ge=1, le=10_000)
    """Sets of parameters to try, the candidates as declared among them."""
    seconds: float = Field(default=60.0, gt=0)
    """No searched trial is begun after this time; the candidates as declared are always tried."""
    folds: int = Field(default=3, ge=2, le=20)
    """Of the cross-validation on the training rows."""


class Gates(Declared):
    """What a version must show on the hold-out before it may serve. All are on by default."""

    threshold: float | None = None
    """Score to reach (or, where smaller is better, not to exceed)."""

    beat_baseline: bool = True
    """The gain over the best baseline must be above zero with the stated confidence."""

    production_tolerance_share: float = Field(default=0.02, ge=0, le=1)
    """How much worse than production a version may be at most, with the stated confidence, as a share of its score."""

    confidence: Share = 0.95
    """Of the intervals on the hold-out."""
    slice_min_rows: int = Field(default=30, ge=1)
    """Smaller slices are shown but not judged: too few rows to say."""

    slice_max_loss_share: float = Field(default=1.0, ge=0)
    """How much worse than the whole a slice's score may be, as a share of the whole's score."""

    leakage_score: Share = 0.98
    """A single feature that alone ranks the target better than this is a suspected leak."""

    allow_leakage: tuple[str, ...] = ()
    """Features, as `build_features` names them, that may predict that well."""


class ModelConfig(Declared):
    """One learning task of a brand."""

    entrypoint: str
    """Module below `brand_<name>` with `build_features` and `build_estimator`, such as `brand_autoplein.price`."""

    dataset: str
    """Name of a table under `[datasets]`."""
    task: Task
    target: str
    """Column to predict, by its own name."""

    positive: Scalar | None = None
    """The positive class of a binary task, as in the data."""

    inputs: dict[str, InputField]
    """The input schema: column name to type, range, allowed values and privacy class."""

    metric: str
    """What versions are judged by; it must fit the task."""
    split: Split = Split()
    candidates: dict[str, Candidate] = {"default": Candidate()}  # noqa: RUF012 - pydantic copies defaults
    search: Search = Search()
    gates: Gates = Gates()
    slices: tuple[str, ...] = ()
    """Columns of the dataset by whose values the score is broken down."""
    schedule: Schedule | None = None
    """When a retraining is asked for; whether the model is trained is decided then. None: by other triggers only."""
    serving: Serving = Serving()
    trial: Trial = Trial()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    fairness: Fairness | None = None
    description: str = ""

    @property
    def metric_spec(self) -> Metric:
        """The metric with its direction."""
        return METRICS[self.metric]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = [] if self.fairness is None else self.fairness.problems(self.task, self.target)
        if self.metric not in METRICS or self.task not in METRICS[self.metric].tasks:
            problems.append(f"metric {self.metric!r} does not fit a {self.task} task; allowed: {', '.join(metrics_for(self.task))}")
        if not self.inputs:
            problems.append("inputs is empty: declare at least one field")
        if self.target in self.inputs:
            problems.append(f"the target {self.target!r} is also an input: the answer would be in the question")
        if (self.positive is not None) != (self.task is Task.BINARY):
            problems.append("positive names the positive class of a binary task, and only there")
        if not self.candidates:
            problems.append("candidates is empty: leave the table out or name one")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Capabilities(Declared):
    """What the brand can say yes to; the platform gets correctly smaller where it cannot."""

    gets_new_data: bool = True
    """Whether new rows arrive; shown on the card."""
    gets_labels: bool = True
    """Whether the truth becomes known after a prediction; shown on the card."""
    may_store_predictions: bool = True
    """Whether inputs and answers may be kept in the prediction log."""


class Retention(Declared):
    """How long is kept what belongs to the brand's users."""

    predictions_days: int = Field(default=400, ge=1, le=36_500)
    """Days that answers and labels stay in the prediction log. Default: a year and a month, to compare with the year before."""


class BrandConfig(Declared):
    """Everything one brand declares."""

    name: str
    title: str = Field(min_length=1, max_length=80)
    """Name for people."""
    story: str = Field(min_length=1, max_length=200)
    """One line: who the brand is and what it predicts."""

    owner: str = Field(min_length=3)
    """A team or address that answers for the brand."""

    risk: Risk
    isolation: Isolation = Isolation.POOL
    silo_memory_mib: int | None = Field(default=None, ge=256)
    """What the brand's own serving process may write to, in MiB. None: the machine's setting, `BRANDHOUSE_SILO_MEMORY_MIB`."""
    budget_eur_month: float = Field(ge=0)
    """Euro a month for what the brand uses, at the prices of `brandhouse cost`; the brand is told at 80 and 100 %. 0: no budget."""
    max_body_bytes: int = Field(default=DEFAULT_MAX_BODY_BYTES, ge=1_000, le=50_000_000)
    """Largest request body, for all of the brand's models."""
    capabilities: Capabilities = Capabilities()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    remote: str | None = None
    """URL of the brand's DVC remote. None: a local directory under the platform's home."""
    leaving: bool = False
    """Whether the brand is about to leave the house. Only then may a plan delete what holds its data."""
    infra: Infra = Infra()

    datasets: dict[str, Dataset]
    models: dict[str, ModelConfig]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = []
        if not is_name(self.name):
            problems.append(f"name {self.name!r} is no identifier; allowed: {NAME_RULE}")
        for kind, names in (("datasets", self.datasets), ("models", self.models)):
            problems += [f"{kind}.{name}: no identifier; allowed: {NAME_RULE}" for name in names if not is_name(name)]
        if not self.models:
            problems.append("models is empty: declare at least one model")
        own = f"{SECRET_PREFIX}{self.name.upper()}_"
        for name, dataset in self.datasets.items():
            foreign = [variable for variable in secret_names(dataset.source) if not variable.startswith(own)]
            problems += [f"datasets.{name}.source: {variable} is not the brand's own; allowed: {own}..." for variable in foreign]
        for route, variable in self.alerts.secrets():
            if not variable.startswith(own):
                problems.append(f"alerts.routes.{route}: {variable} is not the brand's own; allowed: {own}...")
        for name, model in self.models.items():
            if model.dataset not in self.datasets:
                problems.append(f"models.{name}.dataset: unknown {model.dataset!r}; known: {', '.join(self.datasets) or 'none'}")
            if model.entrypoint.split(".")[0] != f"brand_{self.name}":
                outside = f"{model.entrypoint!r} is outside brand_{self.name}; a brand may use only its own code"
                problems.append(f"models.{name}.entrypoint: {outside}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def as_document(self) -> dict[str, Any]:
        """The declaration as plain values, for hashing and records."""
        return self.model_dump(mode="json")
