"""Why a version answers what it answers: Shapley values over input fields (Shapley 1953; Lundberg and Lee 2017).

An explained answer is a sum: what the version answers on average over its background rows, plus one contribution a field.
A field's contribution is what its value changes, averaged over all orders in which the fields of a background row could be
replaced by those of the explained row (interventional values). Nothing is asked of a version but answers: `Question` says
which rows to ask it about, and makes contributions of its answers, so that it matters not where and how it runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from brandhouse_shared.artifacts import BACKGROUND_FILE, Manifest
from brandhouse_shared.config import Scalar
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError
from brandhouse_shared.metrics import Task

EXACT_FIELDS = 8
"""With up to so many fields that differ from the background all their subsets are asked about: 256 times the background's rows."""

PAIRS = 8
"""Orders drawn for each background row beyond that, each with its reverse (antithetic; Mitchell et al. 2022), one row a field."""

MAX_ASKED = 20_000
"""With many fields fewer orders are drawn, at least two for each background row, and beyond `WIDE_FIELDS` for fewer of these."""

WIDE_FIELDS = 150

Columns = Mapping[str, Sequence[Any]]
Array = np.ndarray[Any, Any]


class NoBackgroundError(BrandhouseError):
    """A version has no background rows, so that its answers cannot be explained."""

    def __init__(self, subject: object) -> None:
        super().__init__(
            f"{subject} was packaged without background rows, before answers could be explained; train again, or do not ask why"
        )


@dataclass(frozen=True, slots=True)
class Background:
    """The rows that an explained row is compared with.

    Attributes:
        columns: Canonical values by field, as `Contract.parse_rows` returns them.
        rows: How many.
    """

    columns: Columns
    rows: int

    def thinned(self, rows: int) -> "Background":
        """Every n-th row, so that at most `rows` are left."""
        step = -(-self.rows // rows)
        columns = {name: values[::step] for name, values in self.columns.items()}
        return Background(columns, len(range(0, self.rows, step)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer as a sum.

    Attributes:
        base: What the version answers on average over the background.
        contributions: Field to what its value adds; base and contributions together are the answer.
        method: Whether all subsets of the fields were asked about, or a sample of their orders.
        error: Largest standard error of a contribution that comes from sampling; 0 if exact.
        label: The class whose probability is explained; None for a regression.
    """

    base: float
    contributions: Mapping[str, float]
    method: Literal["exact", "sampled"]
    error: float
    label: Scalar | None = None

    @property
    def answer(self) -> float:
        """The explained number or probability."""
        return self.base + math.fsum(self.contributions.values())


def read_background(folder: Path, manifest: Manifest) -> Background:
    """Read the background rows beside a version.

    Raises:
        NoBackgroundError: If it was packaged before there were any.
        ArtifactCorruptError: If they are no rows of its input schema.
    """
    try:
        rows = json.loads((folder / BACKGROUND_FILE).read_bytes())
        return build_background(rows, manifest)
    except FileNotFoundError:
        raise NoBackgroundError(manifest.key) from None
    except (ValueError, BrandhouseError) as error:
        raise ArtifactCorruptError(manifest.key, f"its background rows cannot be read ({type(error).__name__})") from error


def build_background(rows: Sequence[Any], manifest: Manifest) -> Background:
    """Check JSON objects as a request's rows are.

    Raises:
        ContractViolationError: If they contradict the input schema.
    """
    return Background(manifest.contract.parse_rows(rows), len(rows))


class Question:
    """What a version must be asked to explain one of its answers."""

    def __init__(self, background: Background, row: Mapping[str, Any], seed: int = 0, exact_fields: int = EXACT_FIELDS) -> None:
        """Choose the rows to ask about.

        Args:
            background: Of the version.
            row: Canonical values of the row to explain, by field.
            seed: Of the sampled orders. The same row and seed give the same explanation.
            exact_fields: Up to so many differing fields all subsets are asked about.
        """
        self._names = list(background.columns)
        self._values, codes, own = _encode(background, row)
        self._varying = np.flatnonzero((codes != own).any(axis=0))
        is_exact = len(self._varying) <= exact_fields
        self._plan: _Exact | _Sampled = (_Exact if is_exact else _Sampled)(len(self._varying), background.rows, seed)
        taken = self._plan.taken
        mixed = np.where(taken, own[self._varying], codes[np.ix_(self._plan.rows, self._varying)])
        self._asked, self._place = _distinct(mixed)
        self._own = own

    @property
    def columns(self) -> dict[str, list[Any]]:
        """Canonical rows to ask the version about, each once."""
        rows = len(self._asked)
        place = {int(field): position for position, field in enumerate(self._varying)}
        columns = {}
        for field, name in enumerate(self._names):
            values = self._values[field]
            chosen = self._asked[:, place[field]] if field in place else np.full(rows, self._own[field])
            columns[name] = values[chosen].tolist()
        return columns

    def explain(self, scores: Sequence[Any], manifest: Manifest) -> Explanation:
        """Make an explanation of the version's scores of `columns`."""
        answers = np.asarray(scores, dtype=np.float64)
        # The explained row itself is the last one of either plan.
        chosen = None if manifest.task is Task.REGRESSION else _explained_class(manifest, answers[self._place[-1]])
        values = (answers if chosen is None else answers[:, chosen])[self._place]
        base, contributions, error = self._plan.share(values)
        told = dict.fromkeys(self._names, 0.0)
        told.update({self._names[field]: float(value) for field, value in zip(self._varying, contributions, strict=True)})
        return Explanation(base, told, self._plan.method, error, None if chosen is None else manifest.classes[chosen])


def _explained_class(manifest: Manifest, scores: Array) -> int:
    """The positive class of two, the predicted one of more."""
    if manifest.task is Task.BINARY and manifest.positive in manifest.classes:
        return manifest.classes.index(manifest.positive)
    return int(scores.argmax())


def _encode(background: Background, row: Mapping[str, Any]) -> tuple[list[Array], Array, Array]:
    """Number the different values of each field: the values by number, numbers of the background's rows, of the explained row."""
    values: list[Array] = []
    codes = np.empty((background.rows, len(background.columns)), dtype=np.int64)
    own = np.empty(len(background.columns), dtype=np.int64)
    for field, (name, column) in enumerate(background.columns.items()):
        known: dict[Any, int] = {}
        numbers = [known.setdefault(_key(value), len(known)) for value in [*column, row[name]]]
        codes[:, field], own[field] = numbers[:-1], numbers[-1]
        found = np.empty(len(known), dtype=object)
        found[numbers] = [*column, row[name]]
        values.append(found)
    return values, codes, own


def _key(value: Any) -> Any:
    return "\0missing" if value != value else value  # NaN differs from itself, and all of them are one


def _distinct(mixed: Array) -> tuple[Array, Array]:
    """The different rows, and which of them each row is. They are told apart by a number that has a digit for each field."""
    sizes = mixed.max(axis=0, initial=0) + 1
    if math.prod(sizes.tolist()) < 2**62:
        weights = np.concatenate([[1], np.cumprod(sizes[:-1])]).astype(np.int64)[: len(sizes)]
        _, first, place = np.unique(mixed @ weights, return_index=True, return_inverse=True)
        return mixed[first], place.reshape(-1)
    return mixed, np.arange(len(mixed))  # so many fields of so many values: hardly two rows are the same


class _Exact:
    """All subsets of the fields, each on all background rows. The last one takes all fields."""

    method: Literal["exact", "sampled"] = "exact"

    def __init__(self, fields: int, background: int, seed: int) -> None:
        self._fields = fields
        self._background = background
        subsets, _ = _subsets(fields)
        self.taken = np.repeat(subsets, background, axis=0)
        self.rows = np.tile(np.arange(background), len(subsets))

    def share(self, values: Array) -> tuple[float, Array, float]:
        """Base, contributions, and their standard error."""
        means = values.reshape(-1, self._background).mean(axis=1)
        subsets, weights = _subsets(self._fields)
        places = np.arange(len(subsets))
        contributions = np.empty(self._fields)
        for field in range(self._fields):
            without = places[~subsets[:, field]]
            contributions[field] = weights[without] @ (means[without + (1 << field)] - means[without])
        return float(means[0]), contributions, 0.0


@lru_cache(maxsize=16)
def _subsets(fields: int) -> tuple[Array, Array]:
    """Subset n holds the fields whose bits n has; and the weight of adding one more field to it, |S|! (M-|S|-1)! / M!."""
    numbers = np.arange(1 << fields)
    subsets = (numbers[:, None] >> np.arange(fields)) & 1 == 1
    by_size = [1 / (fields * math.comb(fields - 1, size)) for size in range(fields)]
    return subsets, np.array([*by_size, 0.0])[subsets.sum(axis=1)]


class _Sampled:
    """Some orders of the fields and their reverses on each background row: the fields are taken over one after the other.

    Each walk begins with the background row and ends with the explained row, so that base and contributions sum up to the
    answer whatever orders are drawn.
    """

    method: Literal["exact", "sampled"] = "sampled"

    def __init__(self, fields: int, background: int, seed: int) -> None:
        self._fields = fields
        generator = np.random.default_rng(seed)
        chosen = np.arange(0, background, -(-fields // WIDE_FIELDS))
        self._pairs = max(2, min(PAIRS, MAX_ASKED // (2 * len(chosen) * (fields + 1))))
        walks = len(chosen) * self._pairs
        forward = generator.permuted(np.tile(np.arange(fields), (walks, 1)), axis=1)
        self._orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(2 * walks, fields)
        steps = np.argsort(self._orders, axis=1)  # at which step a field is taken
        self.taken = (steps[:, None, :] < np.arange(fields + 1)[None, :, None]).reshape(-1, fields)
        self.rows = np.repeat(chosen, 2 * self._pairs * (fields + 1))

    def share(self, values: Array) -> tuple[float, Array, float]:
        """Base, contributions, and the largest standard error of one, over the orders that could have been drawn."""
        walks = values.reshape(-1, self._fields + 1)
        gains = np.empty_like(walks[:, 1:])
        np.put_along_axis(gains, self._orders, np.diff(walks, axis=1), axis=1)
        pairs = gains.reshape(-1, self._pairs, 2, self._fields).mean(axis=2)
        spread = pairs.var(axis=1, ddof=1) / self._pairs
        error = math.sqrt(float(spread.sum(axis=0).max())) / len(pairs)
        return float(walks[:, 0].mean()), gains.mean(axis=0), error
