"""The check of training/serving skew: what was answered must be what the training's path answers, bit for bit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.label_joins import OWN_ANSWERS
from brandhouse_aftercare.log_files import Damage, read_tables
from brandhouse_aftercare.training_path import Question, Replayed, Score, TrainingPathError, replay
from brandhouse_flows.wording import say_number
from brandhouse_shared.artifacts import Runtime
from brandhouse_shared.errors import ArtifactCorruptError, join_bounded
from brandhouse_shared.ledger.records import Version

MOST_ROWS = 1_000
"""Rows of one night. A difference that befalls one row in two hundred is found with a probability of 99 %."""

REQUEST_COLUMNS = ("id", "at", "version", "served_by", "request_rows", "value", "probabilities", "inputs", "withheld")


class SkewCheck:
    """See the module."""

    name = "skew"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        version = watch.version
        if version is None:
            return Finding(self.name, State.NOT_APPLICABLE, "no version is in production")
        if not watch.brand.config.capabilities.may_store_predictions:
            return Finding(self.name, State.NOT_APPLICABLE, "the brand keeps no inputs (may_store_predictions = false)")
        try:
            folder = watch.find_artifact(version)
        except ArtifactCorruptError:
            detail = f"the files of {version.key} are missing or altered: no answer of it can be computed again"
            return Finding(self.name, State.RED, detail, facts={"artifact": "missing or altered"})
        own = [row for row in watch.answers.sample if row["version"] == version.number and row["served_by"] in OWN_ANSWERS]
        rows = [row for row in own if is_whole(row)][:MOST_ROWS]
        if not rows:
            return Finding(self.name, *_why_no_row(version, own), rows=0)
        dataset = watch.brand.config.datasets[watch.model.dataset]
        try:
            replayed = replay(folder, dataset, [as_question([row]) for row in rows])
            replayed = _with_requests(watch, rows, replayed, lambda questions: replay(folder, dataset, questions))
        except TrainingPathError as error:
            return Finding(self.name, State.RED, f"logged answers of {version.key} cannot be computed again: {error}", rows=len(rows))
        return _finding(version, len(rows), replayed)


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether all inputs and the answer of a logged row are kept as they were."""
    return row["inputs"] is not None and not row["withheld"] and (row["value"] is not None or row["probabilities"] is not None)


def as_question(rows: Sequence[Mapping[str, Any]]) -> Question:
    """Logged rows of one request."""
    scores: list[Score] = [row["value"] if row["value"] is not None else list(row["probabilities"]) for row in rows]
    return Question([row["inputs"] for row in rows], scores)


def _why_no_row(version: Version, own: Sequence[Mapping[str, Any]]) -> tuple[State, str]:
    withheld = sorted({name for row in own for name in row["withheld"] or ()})
    if withheld:
        return State.NOT_APPLICABLE, f"no answer can be computed again: {join_bounded(withheld)} are hashed or not kept (privacy)"
    return State.UNKNOWN, f"not enough data: 0 of 1 logged answers of {version.key} with inputs"


def _with_requests(watch: Watch, rows: Sequence[Mapping[str, Any]], replayed: Replayed, again: Any) -> Replayed:
    """Ask rows that came together, and differ alone, together: some estimators round otherwise when rows are many."""
    together = [place for place in replayed.differing if rows[place]["request_rows"] > 1]
    if not together:
        return replayed
    requests = find_requests(watch, [rows[place] for place in together])
    questions = [as_question(request) for request in requests]
    ids = [row["id"] for request in requests for row in request]
    anew: Replayed = again(questions) if questions else Replayed([], 0.0)
    same = set(ids) - {ids[place] for place in anew.differing}
    differing = [place for place in replayed.differing if rows[place]["id"] not in same]
    return Replayed(differing, replayed.largest if differing else 0.0, replayed.fields, replayed.refused)


def find_requests(watch: Watch, rows: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Read the whole requests that some rows came in. The log keeps a request's rows side by side, at one time."""
    import orjson
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = {row["id"] for row in rows}
    times = pa.array(sorted({row["at"] for row in rows}), pa.timestamp("ms", "UTC"))
    first, last = (round(moment.timestamp() * 1000) for moment in (times[0].as_py(), times[-1].as_py()))
    found = []
    for table in read_tables(watch.home, watch.key, first, last + 1, REQUEST_COLUMNS, Damage([])):
        near = table.filter(pc.is_in(table["at"], value_set=times)).to_pylist()
        for request in _by_request(near):
            if wanted & {row["id"] for row in request} and all(is_whole(row) for row in request):
                found.append([row | {"inputs": orjson.loads(row["inputs"])} for row in request])
                wanted -= {row["id"] for row in request}
    return found


def _by_request(rows: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    start = 0
    while start < len(rows):
        request = list(rows[start : start + rows[start]["request_rows"]])
        start += len(request)
        if len({(row["at"], row["version"], row["request_rows"]) for row in request}) == 1:
            yield request


def _finding(version: Version, rows: int, replayed: Replayed) -> Finding:
    facts = {
        "differing_rows": len(replayed.differing),
        "largest_difference": replayed.largest,
        "fields_read_otherwise": replayed.fields,
        "fields_refused": replayed.refused,
        "runtime": version.record.runtime,
    }
    is_red = bool(replayed.differing or replayed.fields or replayed.refused)
    say = _say_difference if is_red else _say_equality
    return Finding(
        SkewCheck.name, State.RED if is_red else State.GREEN, say(version, rows, replayed), len(replayed.differing), 0, rows, facts
    )


def _say_equality(version: Version, rows: int, _: Replayed) -> str:
    path = "packaged features and estimator" if version.record.runtime == Runtime.PYTHON else "the packaged graph"
    return f"{rows:,} logged answers of {version.key}, read as training rows and answered by {path}: no difference"


def _say_difference(version: Version, rows: int, replayed: Replayed) -> str:
    count = len(replayed.differing)
    size = f", by up to {say_number(replayed.largest)}" if count else ""
    said = [f"{count:,} of {rows:,} logged answers of {version.key} are not what the training's path answers{size}"]
    for words, fields in (("read otherwise than in serving", replayed.fields), ("refused in training", replayed.refused)):
        if fields:
            said.append(f"{words}: {join_bounded(f'{name} ({number:,} rows)' for name, number in fields.items())}")
    return "; ".join(said)
