"""Logged inputs once more, the way the training went: as cells of a data file, through its reading, to an answer.

A request's JSON and a file's cells reach the model by different code (`Contract.parse_rows` and `datasets.read_table` with
`Contract.refuse_cells`). From there on a python version runs the brand's features and the estimator as packaged, in a
process of the brand's own that knows no secret; a compiled version's features and estimator are one graph.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_shared.artifacts import Manifest, Runtime, read_manifest
from brandhouse_shared.config import Dataset, FieldType
from brandhouse_shared.errors import BrandhouseError, ContractViolationError

OWN_PROCESS_SECONDS = 300.0
"""A thousand rows, each alone, take a python version ten seconds."""

Row = Mapping[str, Any]
Score = float | list[float]


class TrainingPathError(BrandhouseError):
    """The version could not be asked at all."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that was answered.

    Attributes:
        rows: Inputs as logged.
        scores: One number, or one probability per class, a row.
    """

    rows: list[dict[str, Any]]
    scores: list[Score]


@dataclass(frozen=True)
class Replayed:
    """What the training's path made of some requests.

    Attributes:
        differing: Positions of rows, counted over all requests, whose answer is another one.
        largest: Largest absolute difference of a score.
        fields: Field to rows in which the training reads another value than serving.
        refused: Field to rows whose value the training would refuse.
    """

    differing: list[int]
    largest: float
    fields: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)


def replay(folder: Path, dataset: Dataset, questions: Sequence[Question]) -> Replayed:
    """Answer requests once more: all together, then the requests that differ one by one, then their rows alone.

    Most estimators answer a row alone as among others. Linear ones may round otherwise, so that what was answered has to be
    asked as it was asked; nobody knows any more which of a large request's rows were.

    Args:
        folder: Artifact whose bytes have been verified.
        dataset: How the training reads cells.
        questions: Requests with what was answered.

    Raises:
        TrainingPathError: If the version cannot answer, with the class of the error.
    """
    manifest = read_manifest(folder)
    if manifest.runtime is Runtime.PYTHON:
        return _in_own_process(folder, dataset, questions)
    return replay_here(folder, manifest, dataset, questions)


def replay_here(folder: Path, manifest: Manifest, dataset: Dataset, questions: Sequence[Question]) -> Replayed:
    """See `replay`. A python version brings brand code into this process."""
    from brandhouse_shared.answering import load_predictor

    predictor = load_predictor(folder, manifest)
    rows = [row for question in questions for row in question.rows]
    frame, refused = read_as_training(dataset, manifest, rows)
    fields = _differing_fields(manifest, rows, frame)
    columns = manifest.contract.columns_of(frame)
    expected = np.array([score for question in questions for score in question.scores], dtype=np.float64)
    found = _answers(predictor, columns, questions, expected)
    differing = [place for place in range(len(rows)) if not _is_same(found[place : place + 1], expected[place : place + 1])]
    largest = float(np.abs(found[differing] - expected[differing]).max()) if differing else 0.0
    return Replayed(differing, largest, fields, refused)


def read_as_training(dataset: Dataset, manifest: Manifest, rows: Sequence[Row]) -> tuple[Any, dict[str, int]]:
    """Write rows as cells and read them as the training does.

    Returns:
        The canonical frame, and of each field how many rows the training would refuse; their cells are missing.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from brandhouse_flows.datasets import read_table

    cells = {name: pa.array([_cell(row.get(name)) for row in rows], pa.string()) for name in manifest.inputs}
    plain = dataset.model_copy(update={"format": "parquet", "decimal": ".", "thousands": None, "units": (), "header": None, "skip_rows": 0})
    with tempfile.TemporaryDirectory(prefix="brandhouse-skew-") as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(pa.table(cells), path)
        table: pd.DataFrame = read_table(plain, path)
    frame, refusals = manifest.contract.refuse_cells(table)
    refused: dict[str, int] = {}
    for refusal in refusals:
        refused[refusal.field] = refused.get(refusal.field, 0) + int(np.sum(refusal.rows))
    return frame, refused


def _cell(value: Any) -> str | None:
    """A JSON value as a file holds it."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _differing_fields(manifest: Manifest, rows: Sequence[Row], read: Any) -> dict[str, int]:
    """Rows in which a field is another value than serving reads, by field."""
    try:
        served = manifest.contract.frame_of(manifest.contract.parse_rows(list(rows)))
    except ContractViolationError as error:
        raise TrainingPathError("logged rows contradict the input schema of the version that answered them") from error
    found = {}
    for name, declared in manifest.inputs.items():
        one, other = served[name].to_numpy(), read[name].to_numpy()
        same = one == other
        if declared.is_numeric or declared.type is FieldType.DATE:
            same |= (one != one) & (other != other)  # what is missing differs from itself
        if not same.all():
            found[name] = int((~same).sum())
    return found


def _answers(
    predictor: Any, columns: Mapping[str, list[Any]], questions: Sequence[Question], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The answers in the grouping that gives what is expected, where there is one."""
    found = _ask(predictor, columns, range(len(expected)))
    ends = np.cumsum([len(question.rows) for question in questions]).tolist()
    requests = [range(end - len(question.rows), end) for question, end in zip(questions, ends, strict=True)]
    for places in [*requests, *(range(place, place + 1) for place in range(len(expected)))]:
        here = slice(places.start, places.stop)
        if not _is_same(found[here], expected[here]):
            again = _ask(predictor, columns, places)
            if _is_same(again, expected[here]):
                found[here] = again
    return found


def _ask(predictor: Any, columns: Mapping[str, list[Any]], places: range) -> NDArray[np.float64]:
    answers: NDArray[np.float64] = predictor.predict({name: values[places.start : places.stop] for name, values in columns.items()})
    return answers


def _is_same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Bit for bit."""
    return one.shape == other.shape and one.astype("<f8").tobytes() == other.astype("<f8").tobytes()


# -- in a process of the brand's own ---------------------------------------------------------------------------------


def _in_own_process(folder: Path, dataset: Dataset, questions: Sequence[Question]) -> Replayed:
    from brandhouse_serving.silo_supervisor import PASSED_ON

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # as a serving process has them
    asked = {"dataset": dataset.model_dump(mode="json"), "questions": [asdict(question) for question in questions]}
    with tempfile.TemporaryDirectory(prefix="brandhouse-skew-") as home:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | threads | {"HOME": home}
        command = [sys.executable, "-I", "-m", "brandhouse_aftercare.training_path", str(folder)]
        try:
            done = subprocess.run(
                command, input=json.dumps(asked).encode(), capture_output=True, cwd=home, env=environment, timeout=OWN_PROCESS_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise TrainingPathError(f"the version did not answer within {OWN_PROCESS_SECONDS:.0f} seconds") from error
    if done.returncode:
        raise TrainingPathError(f"the version raised {done.stdout.decode(errors='replace').strip()[-200:] or 'and its process ended'}")
    return Replayed(**json.loads(done.stdout))


def main() -> None:
    """Answer what standard input asks, for the artifact that is named. Only the class of an error is told: messages may hold values."""
    folder = Path(sys.argv[1])
    asked = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr  # brand code may print
    try:
        questions = [Question(**question) for question in asked["questions"]]
        replayed = replay_here(folder, read_manifest(folder), Dataset.model_validate(asked["dataset"]), questions)
    except Exception as error:  # brand code may raise anything
        answer.write(type(error).__name__)
        sys.exit(1)
    json.dump(asdict(replayed), answer)


if __name__ == "__main__":
    main()
