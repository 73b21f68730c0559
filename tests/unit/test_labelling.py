"""Labels come back: checked, kept by person, compared, and used to judge a version."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from brandhouse_flows.label_book import Label, LabelBook, PickedRow
from brandhouse_flows.label_sheets import FilledRow, LabelSheetError
from brandhouse_flows.labelling import LabelRule, agreements, estimate_quality, settled_labels, take_labels, widened_range
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

CASA, VILLA = ModelKey("casa", "sold"), ModelKey("villa", "sold")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BINARY = LabelRule(Task.BINARY, ("no", "yes"))


def picked(number: int, by: str = "random", key: ModelKey = CASA, **named: Any) -> PickedRow:
    given: dict[str, Any] = {"score": None, "version": 1, "prediction": [0.2, 0.8], "row": {"area": 1}, "at": "2026", "who": "x"} | named
    return PickedRow(f"{key.brand}.{key.model}.row.{number}", "table", by, **given)


def filled(number: int, label: str, line: int = 2, key: ModelKey = CASA) -> FilledRow:
    return FilledRow(line, f"{key.brand}.{key.model}.row.{number}", label)


@pytest.fixture
def book(tmp_path: Path) -> LabelBook:
    book = LabelBook(tmp_path, CASA)
    book.add_picked(picked(number) for number in range(40))
    return book


def test_labels_are_kept_by_person_and_empty_ones_wait(book: LabelBook, tmp_path: Path) -> None:
    taken = take_labels(CASA, book, BINARY, [filled(1, "yes"), filled(2, "")], "anna", NOW)
    assert (len(taken.labels), taken.empty) == (1, 1)
    take_labels(CASA, book, BINARY, [filled(1, "no")], "ben", NOW)
    both = LabelBook(tmp_path, CASA).labels()["casa.sold.row.1"]
    assert {person: label.label for person, label in both.items()} == {"anna": "yes", "ben": "no"}, "both are kept"
    assert both["anna"].at == "2026-03-01T12:00:00+00:00"
    assert settled_labels(book.labels(), Task.BINARY) == {}, "who is right is not for a machine to say"
    files = [path for path in (tmp_path / "labels/casa/sold").iterdir() if path.suffix == ".jsonl"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_the_same_person_repeats_or_corrects(book: LabelBook) -> None:
    take_labels(CASA, book, BINARY, [filled(1, "yes"), filled(2, "yes")], "anna", NOW)
    again = take_labels(CASA, book, BINARY, [filled(1, "yes"), filled(2, "no")], "anna", NOW)
    assert (len(again.labels), again.corrected, len(again.known)) == (1, 1, 1)
    assert settled_labels(book.labels(), Task.BINARY) == {"casa.sold.row.1": "yes", "casa.sold.row.2": "no"}


def test_all_problems_are_told_by_line_and_nothing_is_taken(book: LabelBook) -> None:
    rows = [
        filled(1, "yes", 2),
        filled(2, "perhaps", 3),
        filled(1, "no", 4),
        filled(99, "yes", 5),
        filled(3, "yes", 6, key=VILLA),
        filled(4, "MAYBE", 7),
    ]
    with pytest.raises(LabelSheetError) as caught:
        take_labels(CASA, book, BINARY, rows, "anna", NOW)
    assert list(caught.value.problems) == [
        "line 3, 7: the label is no class of the model; allowed: no, yes",
        "line 4: the row_id is in line 2 already; keep one of them",
        "line 5: casa/sold never picked a row of that id",
        "line 6: the row_id is none of casa/sold; take the sheet with the model it was written for",
    ]
    assert "perhaps" not in str(caught.value)
    assert book.labels() == {}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81])
def test_who_labelled_must_be_said(book: LabelBook, name: str) -> None:
    with pytest.raises(LabelSheetError, match="--by-whom"):
        take_labels(CASA, book, BINARY, [filled(1, "yes")], name, NOW)


@pytest.mark.parametrize(
    ("classes", "text", "label"),
    [
        (("no", "yes"), "YES", "yes"),
        ((-1, 1), "-1", -1),
        ((-1, 1), "'-1", -1),
        ((0, 1), "1.0", 1),
        (("=a", "b"), "'=a", "=a"),
        (("1,5", "2"), "1,5", "1,5"),
    ],
)
def test_a_class_is_known_however_a_spreadsheet_writes_it(book: LabelBook, classes: Any, text: str, label: Any) -> None:
    rule = LabelRule(Task.BINARY, classes)
    found = take_labels(CASA, book, rule, [filled(1, text)], "anna", NOW).labels[0].label
    assert (type(found), found) == (type(label), label)


@pytest.mark.parametrize(("text", "number"), [("12,5", 12.5), ("12.5", 12.5), ("1e2", 100.0), (" 7 ", 7.0)])
def test_a_number_is_read_with_comma_or_point(book: LabelBook, text: str, number: float) -> None:
    rule = LabelRule(Task.REGRESSION, (), *widened_range(0, 100))
    assert take_labels(CASA, book, rule, [filled(1, text)], "anna", NOW).labels[0].label == number


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "151", "1,000,000"])
def test_numbers_out_of_range_and_what_is_none_are_refused(book: LabelBook, text: str) -> None:
    rule = LabelRule(Task.REGRESSION, (), *widened_range(0, 100))
    with pytest.raises(LabelSheetError, match=r"no number|allowed: 0 to 150"):
        take_labels(CASA, book, rule, [filled(1, text)], "anna", NOW)


def test_widened_range_leaves_room_and_no_negative_prices() -> None:
    assert widened_range(10, 20) == (0, 25)
    assert widened_range(-10, 10) == (-20, 20)
    assert widened_range(5, 5) == (0, 10)


def labels_of(**by_person: list[Any]) -> dict[str, dict[str, Label]]:
    count = len(next(iter(by_person.values())))
    return {
        str(row): {person: Label(str(row), given[row], person, "t") for person, given in by_person.items() if given[row] is not None}
        for row in range(count)
    }


def test_agreement_is_cohens_kappa_of_the_common_rows() -> None:
    # the textbook table of 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: kappa 0.4
    anna = ["y"] * 25 + ["n"] * 25 + ["y"]
    ben = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15 + [None]
    (found,) = agreements(labels_of(anna=anna, ben=ben), Task.BINARY)
    assert (found.people, found.rows, found.share) == (("anna", "ben"), 50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    (same,) = agreements(labels_of(anna=["y"] * 3, ben=["y"] * 3), Task.BINARY)
    assert (same.share, same.kappa) == (1.0, None), "without a second class kappa is undefined, not perfect"
    (numbers,) = agreements(labels_of(anna=[1.0, 2.0], ben=[2.0, 2.0]), Task.REGRESSION)
    assert (numbers.mean_difference, numbers.kappa) == (0.5, None)


MODEL = ModelConfig.model_validate(
    {
        "entrypoint": "brand_casa.sold",
        "dataset": "homes",
        "task": "binary",
        "target": "sold",
        "positive": "yes",
        "metric": "accuracy",
        "inputs": {"area": {"type": "number"}},
    }
)


def test_quality_is_estimated_on_rows_drawn_at_random_only() -> None:
    rows = {row.row_id: row for row in [picked(n) for n in range(20)] + [picked(n, by="uncertainty") for n in range(20, 60)]}
    settled = {row_id: "yes" if int(row_id.rpartition(".")[2]) < 15 else "no" for row_id in rows}
    (report,) = estimate_quality(MODEL, lambda _: ("no", "yes"), rows, settled).values()
    assert (report.score, report.rows) == (0.75, 20), "the forty uncertain ones would have made it 0.25"
    few = {row_id: row for row_id, row in rows.items() if int(row_id.rpartition(".")[2]) < 9}
    assert estimate_quality(MODEL, lambda _: ("no", "yes"), few, settled) == {}


def test_a_row_that_was_ever_drawn_at_random_stays_so(book: LabelBook) -> None:
    book.add_picked([picked(1, by="uncertainty"), picked(50, by="uncertainty"), picked(50)])
    rows = book.picked()
    assert (rows["casa.sold.row.1"].by, rows["casa.sold.row.50"].by) == ("random", "random")


def test_a_line_torn_by_a_power_failure_is_passed_over_and_mended(book: LabelBook, tmp_path: Path) -> None:
    take_labels(CASA, book, BINARY, [filled(1, "yes")], "anna", NOW)
    path = tmp_path / "labels/casa/sold/labels.jsonl"
    path.write_bytes(path.read_bytes() + b'{"row_id": "casa.so')
    assert list(book.labels()) == ["casa.sold.row.1"]
    take_labels(CASA, book, BINARY, [filled(2, "no")], "anna", NOW)
    assert sorted(book.labels()) == ["casa.sold.row.1", "casa.sold.row.2"]


def test_brands_have_books_of_their_own(book: LabelBook, tmp_path: Path) -> None:
    take_labels(CASA, book, BINARY, [filled(1, "yes")], "anna", NOW)
    other = LabelBook(tmp_path, VILLA)
    assert (other.picked(), other.labels()) == ({}, {})
