"""`label`: pick rows worth labelling, take the labels back, export them, say how far they are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brandhouse_console.output import print_json, print_table
from brandhouse_console.targets import check_destination, find_model
from brandhouse_shared.artifacts import load_artifact_store, read_manifest
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Privacy
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be picked.

    Attributes:
        count: Rows.
        by: `uncertainty`, `disagreement` or `random`.
        random_share: Of the rows, drawn at random.
        source: Unlabelled table; None: the prediction log.
        days: Of the prediction log to look at.
        out: Sheet to write; None: `<brand>-<model>-labels.csv` in the current folder.
        personal: Whether the person may see fields declared personal; of a table only.
    """

    count: int
    by: str
    random_share: float
    source: Path | None
    days: int
    out: Path | None
    personal: bool = False


def pick(target: str, wish: Wish, *, as_json: bool) -> None:
    """Pick rows, remember how each was picked, and write the sheet."""
    from brandhouse_flows.label_book import LabelBook, PickedRow
    from brandhouse_flows.label_sheets import write_sheet

    settings, brand, key = _open(target)
    out = wish.out or Path(f"{key.brand}-{key.model}-labels.csv")
    check_destination(settings, brand.name, out)
    if out.exists():
        raise BrandhouseError(f"{key}: {out} exists, and may hold labels that nobody has taken back; name another file with --out")
    book = LabelBook(settings.home, key)
    found = _from_table(settings, brand, key, wish.source, book) if wish.source else _from_log(settings, brand, key, wish.days, book)
    fields = _shown_fields(brand, key, found.withheld, wish)
    chosen, rows = _choose(settings, brand, key, found, wish)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    keeps = brand.config.capabilities.may_store_predictions
    book.add_picked(
        PickedRow(
            row_id=rows[one.position].id,
            origin=rows[one.position].origin,
            by=one.by,
            score=one.score,
            version=rows[one.position].version if keeps else None,
            prediction=rows[one.position].prediction if keeps else None,
            row=rows[one.position].row,
            at=at,
            who=settings.actor,
        )
        for one in chosen
    )
    write_sheet(out, [(rows[one.position].id, rows[one.position].instance) for one in chosen], fields)
    by = {name: sum(one.by == name for one in chosen) for name in sorted({one.by for one in chosen})}
    hidden = [name for name in brand.model(key.model).inputs if name not in fields]
    if as_json:
        document = {"brand": key.brand, "model": key.model, "file": str(out), "rows": len(chosen), "picked_by": by}
        print_json(document | {"candidates": len(rows), "left_out": found.left_out, "hidden_fields": hidden})
        return
    print(f"{key}: {len(chosen)} of {len(rows):,} rows picked ({', '.join(f'{count} by {name}' for name, count in by.items())})")
    for reason, count in found.left_out.items():
        print(f"  left out: {count:,} rows {reason}")
    if hidden:
        print(f"  not in the sheet, since personal or sensitive: {', '.join(hidden)}")
    print(f"fill in the column `label` of {out}, then run: brandhouse label {key} --take {out} --by-whom NAME")


def take(target: str, path: Path, *, by_whom: str | None, beyond_range: bool, as_json: bool) -> None:
    """Check a sheet that came back, keep its labels, and join them to the predictions they are of."""
    from brandhouse_flows.label_book import LabelBook
    from brandhouse_flows.label_sheets import read_sheet
    from brandhouse_flows.labelling import take_labels

    settings, brand, key = _open(target)
    book = LabelBook(settings.home, key)
    rule = _label_rule(settings, brand, key, beyond_range)
    who = settings.actor if by_whom is None else by_whom
    taken = take_labels(key, book, rule, read_sheet(path, key), who, datetime.now(UTC))
    joined, had = _feed_back(settings, key, [*taken.labels, *taken.known], book)
    if as_json:
        counts = {"new": len(taken.labels), "corrected": taken.corrected, "repeated": len(taken.known), "empty": taken.empty}
        print_json({"brand": key.brand, "model": key.model, "by": who, **counts, "joined": joined, "had_a_label": had})
        return
    print(f"{key}: {len(taken.labels)} labels by {who} taken, {taken.corrected} of them corrections")
    for count, what in ((taken.empty, "rows have no label yet"), (len(taken.known), "labels were known already")):
        if count:
            print(f"  {count} {what}")
    if joined or had:
        already = f"; {had} had a label already, and the first one stays" if had else ""
        print(f"  {joined} joined to their predictions as feedback{already}")


def export(target: str, path: Path, *, with_snapshot: bool, as_json: bool) -> None:
    """Write the labelled rows as a table that can be ingested."""
    from brandhouse_flows.label_book import LabelBook
    from brandhouse_flows.label_export import export_labels
    from brandhouse_flows.labelling import settled_labels

    settings, brand, key = _open(target)
    check_destination(settings, brand.name, path)
    book, task = LabelBook(settings.home, key), brand.model(key.model).task
    labels = book.labels()
    settled = settled_labels(labels, task)
    done = export_labels(settings, brand, key, book.picked(), settled, path, with_snapshot=with_snapshot)
    disputed = len(labels) - len(settled)
    if as_json:
        print_json({"brand": key.brand, "model": key.model, "file": str(path), "disputed": disputed} | asdict(done))
        return
    print(f"{key}: {done.rows:,} rows in {path}, {done.labelled:,} of them labelled by people")
    if disputed:
        print(f"  left out: {disputed} rows on which people differ")
    if done.incomplete:
        print(f"  empty in rows of the prediction log, where they may not be kept: {', '.join(done.incomplete)}")


def status(target: str, *, as_json: bool) -> None:
    """Say what is picked and labelled, how far people agree, and what that says of quality."""
    from brandhouse_flows.label_book import LabelBook
    from brandhouse_flows.labelling import agreements, estimate_quality, settled_labels

    settings, brand, key = _open(target)
    model, book = brand.model(key.model), LabelBook(settings.home, key)
    picked, labels = book.picked(), book.labels()
    settled = settled_labels(labels, model.task)
    people = sorted({person for by_person in labels.values() for person in by_person})
    document: dict[str, Any] = {
        "brand": key.brand,
        "model": key.model,
        "picked": len(picked),
        "picked_at_random": sum(row.by == "random" for row in picked.values()),
        "labelled": len(labels),
        "disputed": len(labels) - len(settled),
        "people": {person: sum(person in by_person for by_person in labels.values()) for person in people},
        "agreement": [asdict(one) for one in agreements(labels, model.task)],
        "quality": [],
    }
    if settled:
        reports = estimate_quality(model, lambda number: _classes(settings, key, number), picked, settled)
        document["quality"] = [
            {"version": f"v{version}", "metric": one.metric, "score": one.score, "low": one.low, "high": one.high, "rows": one.rows}
            for version, one in sorted(reports.items(), reverse=True)
        ]
    print_json(document) if as_json else _print_status(key, document)


def _print_status(key: ModelKey, document: Mapping[str, Any]) -> None:
    at_random = document["picked_at_random"]
    print(
        f"{key}: {document['picked']} rows picked ({at_random} at random), {document['labelled']} labelled, {document['disputed']} disputed"
    )
    print_table(["who", "rows"], list(document["people"].items()), empty="nobody has labelled a row yet")
    if document["agreement"]:
        columns = ["who", "and", "rows", "equal", "kappa", "mean difference"]
        rows = [[*one["people"], one["rows"], one["share"], one["kappa"], one["mean_difference"]] for one in document["agreement"]]
        print_table(columns, rows)
    for one in document["quality"]:
        interval = f"{one['low']:.4g} to {one['high']:.4g}"
        print(f"{one['version']}: {one['metric']} {one['score']:.4g} ({interval}) on {one['rows']} rows drawn at random")


# -- rows ------------------------------------------------------------------------------------------------------------


def _open(target: str) -> tuple[Settings, Brand, ModelKey]:
    settings = load_settings()
    brand, key = find_model(settings, target)
    return settings, brand, key


def _from_table(settings: Settings, brand: Brand, key: ModelKey, path: Path, book: Any) -> Any:
    from brandhouse_flows.label_candidates import read_candidates
    from brandhouse_serving.prediction_log import load_hash_key

    return read_candidates(brand, key, path, load_hash_key(settings.home, brand.name), set(book.labels()))


def _from_log(settings: Settings, brand: Brand, key: ModelKey, days: int, book: Any) -> Any:
    from brandhouse_flows.label_candidates import Candidate, Candidates
    from brandhouse_serving.prediction_records import StoredPredictionRecords

    if not brand.config.capabilities.may_store_predictions:
        raise BrandhouseError(
            f"{key}: {brand.name} may not store predictions (may_store_predictions = false), so there is no row to pick from; "
            "pick from an unlabelled table with --from FILE"
        )
    labelled = book.labels()
    withheld: dict[str, None] = {}
    rows, known = [], 0
    for record in StoredPredictionRecords(settings.home).unlabelled(key, days, datetime.now(UTC)):
        if record.id in labelled:
            known += 1
            continue
        withheld |= dict.fromkeys(record.withheld)
        prediction = record.probabilities if record.probabilities is not None else record.prediction
        rows.append(Candidate(record.id, "log", record.inputs, record.inputs, record.version, prediction))
    return Candidates(rows, tuple(withheld), {"are labelled already": known} if known else {})


def _shown_fields(brand: Brand, key: ModelKey, withheld: tuple[str, ...], wish: Wish) -> list[str]:
    """Fields that a person may see: never sensitive ones; personal ones only of a table, and if asked for."""
    allowed = {Privacy.PUBLIC, Privacy.PERSONAL} if wish.personal and wish.source else {Privacy.PUBLIC}
    inputs = brand.model(key.model).inputs
    return [name for name, field in inputs.items() if field.privacy in allowed and name not in withheld]


def _choose(settings: Settings, brand: Brand, key: ModelKey, found: Any, wish: Wish) -> tuple[list[Any], list[Any]]:
    from brandhouse_flows.label_picking import pick_rows

    if not found.rows:
        where = wish.source or f"the prediction log of the last {wish.days} days"
        raise BrandhouseError(f"{key}: no row to pick in {where}; {_say_left_out(found.left_out)}")
    rows, scores = _scored(settings, brand, key, found, wish)
    seed = int(datetime.now(UTC).timestamp() * 1000)
    same = [tuple(sorted((name, str(value)) for name, value in row.instance.items())) for row in rows]
    return pick_rows(scores, wish.count, wish.by, wish.random_share, same, seed), rows


def _say_left_out(left_out: Mapping[str, int]) -> str:
    return (
        "; ".join(f"{count} rows {reason}" for reason, count in left_out.items()) or "nothing was predicted; look further back with --days"
    )


def _scored(settings: Settings, brand: Brand, key: ModelKey, found: Any, wish: Wish) -> tuple[list[Any], Any]:
    """The rows with production's answers, and how uncertain or disputed each is; None for a random pick."""
    import numpy as np

    from brandhouse_flows import label_picking

    versions = _versions(settings, brand, key)
    rows = _comparable(versions, found, key) if found.rows[0].version is not None else _answered(versions, found.rows)
    if wish.by == "random":
        return rows, None
    if wish.by == "disagreement":
        return rows, _disagreement(versions, rows, found.withheld, key)
    answers = np.array([row.prediction for row in rows], dtype=np.float64)
    if versions.manifest.task is not Task.REGRESSION:
        return rows, label_picking.margins(answers)
    return rows, label_picking.interval_widths(answers, *versions.holdout())


def _comparable(versions: Any, found: Any, key: ModelKey) -> list[Any]:
    """The logged rows whose answers are of the classes that production knows."""
    size = len(versions.manifest.classes)
    rows = [row for row in found.rows if size == (len(row.prediction) if isinstance(row.prediction, tuple) else 0)]
    if len(rows) < len(found.rows):
        found.left_out["were answered by a version of other classes"] = len(found.rows) - len(rows)
    if not rows:
        raise BrandhouseError(f"{key}: no row to pick; {_say_left_out(found.left_out)}")
    return rows


def _answered(versions: Any, rows: list[Any]) -> list[Any]:
    answers = versions.answer(versions.production, [row.instance for row in rows]).tolist()
    return [replace(row, version=versions.production.number, prediction=answer) for row, answer in zip(rows, answers, strict=True)]


def _disagreement(versions: Any, rows: list[Any], withheld: tuple[str, ...], key: ModelKey) -> Any:
    from brandhouse_flows import label_picking
    from brandhouse_flows.label_versions import ask_others

    if withheld:
        raise BrandhouseError(
            f"{key}: other versions cannot be asked, since the prediction log may not keep {', '.join(withheld)}; "
            "use --by uncertainty, or a table with --from FILE"
        )
    instances = [row.instance for row in rows]
    others = ask_others(versions, instances)
    if not others:
        raise BrandhouseError(
            f"{key}: there is no other version that could disagree with v{versions.production.number}; use --by uncertainty"
        )
    return label_picking.disagreement(versions.answer(versions.production, instances), list(others.values()))


# -- labels ----------------------------------------------------------------------------------------------------------


def _versions(settings: Settings, brand: Brand, key: ModelKey) -> Any:
    from brandhouse_flows.label_versions import open_versions

    ledger = open_ledger(settings.ledger_url.get_secret_value())
    return open_versions(settings, brand, key, ledger, load_artifact_store(settings))


def _classes(settings: Settings, key: ModelKey, number: int) -> tuple[Any, ...]:
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    digest = ledger.find_version(key.version(number)).record.artifact_digest
    return read_manifest(load_artifact_store(settings).find(key, digest)).classes


def _label_rule(settings: Settings, brand: Brand, key: ModelKey, beyond_range: bool) -> Any:
    from brandhouse_flows.labelling import LabelRule, widened_range

    versions = _versions(settings, brand, key)
    if versions.manifest.task is not Task.REGRESSION:
        return LabelRule(versions.manifest.task, versions.manifest.classes)
    low, high = (None, None) if beyond_range else widened_range(*versions.target_range())
    return LabelRule(Task.REGRESSION, (), low, high)


def _feed_back(settings: Settings, key: ModelKey, labels: list[Any], book: Any) -> tuple[int, int]:
    """Join labels to the predictions they are of; return how many were joined, and how many predictions had a label."""
    from brandhouse_serving.failures import DuplicateLabelError
    from brandhouse_serving.feedback import LabelStore

    picked = book.picked()
    store = LabelStore(settings.home, _Picked({row_id for row_id, row in picked.items() if row.origin == "log"}))
    joined = had = 0
    for label in labels:
        if picked[label.row_id].origin != "log":
            continue
        try:
            store.add(key, label.row_id, label.label, datetime.now(UTC))
            joined += 1
        except DuplicateLabelError:
            had += 1
    return joined, had


@dataclass(frozen=True, slots=True)
class _Picked:
    """Predictions known to have been made, since they were picked from the log: searching it again would read it once a label."""

    ids: set[str]

    def find(self, prediction_id: str) -> object | None:
        """See `KnownPredictions.find`."""
        return prediction_id if prediction_id in self.ids else None
