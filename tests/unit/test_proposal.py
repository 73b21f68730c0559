"""From a table to a proposal: every nasty thing that a table may hold, and what is decided about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brandhouse_authoring.proposal import LeftOut, Proposal, propose, propose_from_frame
from brandhouse_flows.datasets import read_table
from brandhouse_flows.splits import encode_target, split_rows
from brandhouse_shared.config import BrandConfig, FieldType
from brandhouse_shared.contracts import Contract
from brandhouse_shared.errors import BrandhouseError, DatasetError, InvalidNameError
from brandhouse_shared.metrics import Task

ROWS = 400
Columns = Mapping[str, Any]


def chance(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(**columns: Any) -> dict[str, Any]:
    """Columns beside two plain ones: a number `size` and a target `price` that depends on it."""
    size = chance(1).normal(50, 10, ROWS).round(2)
    return {"size": size, **columns, "price": (1000 * size + chance(2).normal(0, 8000, ROWS)).round(0).astype(int)}


def words(*values: Any, seed: int = 7) -> list[Any]:
    """The values again and again, in no order."""
    return list(np.array(values, dtype=object)[chance(seed).integers(0, len(values), ROWS)])


def write(tmp_path: Path, columns: Columns, **options: Any) -> Path:
    path = tmp_path / "Offers 2024.csv"
    pd.DataFrame(dict(columns)).to_csv(path, index=False, **options)
    return path


def made(tmp_path: Path, columns: Columns, target: str = "price", *, options: Mapping[str, Any] | None = None, **asked: Any) -> Proposal:
    """Propose, and make sure that a training would take what is proposed."""
    path = write(tmp_path, columns, **(options or {}))
    proposal = propose(path, target, name="casa", **asked)
    fits(proposal, path)
    return proposal


def fits(proposal: Proposal, path: Path) -> None:
    config = BrandConfig.model_validate(proposal.as_document("casa-data@house.example"))
    model = config.models[proposal.model]
    rows = read_table(config.datasets[proposal.dataset], path)
    target = encode_target(rows[model.target], model)
    kept = rows.loc[target.keep].reset_index(drop=True)
    Contract(model.inputs).parse_table(kept, "casa")
    split_rows(kept, model, target.values)
    listed = {*proposal.numbers, *proposal.categories, *proposal.texts, *proposal.dates}
    assert listed == set(proposal.inputs)
    assert set(proposal.many_valued) <= set(proposal.categories)


def left_out(proposal: Proposal, column: str) -> LeftOut:
    return next(item for item in proposal.left_out if item.column == column)


def reason(proposal: Proposal, column: str) -> str:
    return left_out(proposal, column).reason


def refusal(tmp_path: Path, columns: Columns, target: str = "price", **asked: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        propose(write(tmp_path, columns), target, name="casa", **asked)
    return str(caught.value)


def about(proposal: Proposal, subject: str) -> str:
    return "; ".join(f"{decision.decision}: {decision.why}" for decision in proposal.decisions if decision.subject == subject)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Prijs / m² ", '"quoted"', "it's", "naïve café", "a,b;c", "100 %", "[x]", "#", "ID = 3", "日本語"])
def test_an_input_keeps_its_odd_name(tmp_path: Path, name: str) -> None:
    proposal = made(tmp_path, {name: chance().normal(size=ROWS).round(3), **table()})
    assert proposal.inputs[name]["type"] == "number"
    assert name in proposal.numbers


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(lambda name: name.strip()))
def test_any_name_of_a_target_makes_a_model(tmp_path: Path, name: str) -> None:
    columns = {"plain size": chance().normal(size=ROWS).round(3), name: chance(3).normal(size=ROWS).round(3)}
    proposal = made(tmp_path, columns, name)
    assert proposal.target == name


@pytest.mark.parametrize("target", ["Price ", "price", " PRICE"])
def test_blanks_and_case_of_the_target_are_forgiven(tmp_path: Path, target: str) -> None:
    columns = {("Price " if name == "price" else name): values for name, values in table().items()}
    proposal = made(tmp_path, columns, target)
    assert (proposal.target, proposal.model) == ("Price ", "price")


def test_an_unknown_target_is_refused_with_the_columns(tmp_path: Path) -> None:
    assert "there is no column 'prise'; columns: 'size', 'price'" in refusal(tmp_path, table(), "prise")


def test_a_target_that_might_be_two_columns_is_refused(tmp_path: Path) -> None:
    assert "several columns might be 'PRICE'" in refusal(tmp_path, {"Price": range(ROWS), **table()}, "PRICE")


def test_a_keyword_as_target_still_names_a_model(tmp_path: Path) -> None:
    assert made(tmp_path, {**table(), "class": words("low", "middle", "high")}, "class").model == "class_model"


def test_a_bad_name_of_the_brand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError):
        propose(write(tmp_path, table()), "price", name="Casa!")


# -- how cells are written -----------------------------------------------------------------------------------------


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(), options={"sep": ";", "decimal": ","})
    assert (proposal.data["decimal"], proposal.data["separator"]) == (",", ";")
    assert proposal.inputs["size"]["type"] == "number"


def test_points_between_thousands_are_numbers(tmp_path: Path) -> None:
    dutch = [f"{value:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".") for value in chance().uniform(500, 90_000, ROWS)]
    proposal = made(tmp_path, table(amount=dutch), options={"sep": ";"})
    assert (proposal.data["decimal"], proposal.data["thousands"]) == (",", ".")
    assert proposal.inputs["amount"]["max"] > 90_000


def test_commas_between_thousands_are_numbers(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(amount=[f"{value:,}" for value in chance().integers(100, 90_000, ROWS)]))
    assert proposal.data["thousands"] == ","
    assert "decimal" not in proposal.data
    assert proposal.inputs["amount"]["type"] == "integer"


def test_blanks_around_cells_are_dropped(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(fuel=words("Petrol ", "Petrol", " Diesel")))
    assert proposal.data["strip"] is True
    assert proposal.inputs["fuel"]["values"] == ["Diesel", "Petrol"]


@pytest.mark.parametrize("word", ["?", "-", "n/a", "#N/A", "unknown", "onbekend", "inf"])
def test_words_for_nothing_among_numbers_are_missing(tmp_path: Path, word: str) -> None:
    proposal = made(tmp_path, table(rooms=words(1, 2, 3, 4, 5, word)))
    assert word in proposal.data["missing"]
    assert proposal.inputs["rooms"] == {"type": "integer", "min": 0, "max": 9, "nullable": True}


def test_a_few_other_words_among_numbers_are_missing_and_said(tmp_path: Path) -> None:
    rooms = [*range(1, 6)] * (ROWS // 5)
    proposal = made(tmp_path, table(rooms=["see note", *rooms[1:]]))
    assert proposal.inputs["rooms"]["type"] == "integer"
    assert "1 rows hold 1 other words" in about(proposal, "rooms")
    assert "see note" not in str(proposal.decisions), "a value of a row stands in a message"


def test_a_column_of_numbers_and_words_is_a_category_and_flagged(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(floor=words(1, 2, 3, "ground", "attic")))
    assert proposal.inputs["floor"]["type"] == "category"
    assert "numbers and words mixed" in about(proposal, "floor")


def test_digits_with_leading_zeros_are_no_number(tmp_path: Path) -> None:
    assert made(tmp_path, table(branch=words("001", "002", "010", "100"))).inputs["branch"]["values"] == ["001", "002", "010", "100"]


def test_missing_values_make_a_field_nullable(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(rooms=words(1, 2, 3, None), fuel=words("Petrol", "Diesel", None)))
    assert all(proposal.inputs[name]["nullable"] for name in ("rooms", "fuel"))
    assert "nullable" not in proposal.inputs["size"]


# -- types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair", [("yes", "no"), ("Yes", "No"), ("ja", "nee"), ("J", "N"), ("Y", "N"), ("TRUE", "FALSE"), ("1", "0"), ("t", "f"), ("on", "off")]
)
def test_two_words_for_yes_and_no_are_a_boolean(tmp_path: Path, pair: tuple[str, str]) -> None:
    proposal = made(tmp_path, table(garden=words(*pair)))
    assert proposal.inputs["garden"] == {"type": "boolean"}
    assert "garden" in proposal.numbers


@pytest.mark.parametrize("pair", [("yes", "yes!"), ("Petrol", "Diesel"), ("1", "2"), ("yes", "unsure")])
def test_two_other_words_are_no_boolean(tmp_path: Path, pair: tuple[str, str]) -> None:
    assert made(tmp_path, table(garden=words(*pair))).inputs["garden"]["type"] != "boolean"


@pytest.mark.parametrize(
    "written",
    [
        "%Y-%m-%d", "%d-%m-%Y", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d", "%d-%m-%y", "%d %b %Y", "%B %d, %Y", "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S.%f",
    ],
)  # fmt: skip
def test_dates_as_text_are_dates_with_their_format(tmp_path: Path, written: str) -> None:
    moments = pd.Timestamp("2021-01-03") + pd.to_timedelta(chance().integers(0, 900 * 86_400, ROWS), unit="s")
    proposal = made(tmp_path, table(seen=moments.strftime(written)))
    assert proposal.inputs["seen"] == {"type": "date", "format": written}
    assert proposal.dates == ("seen",)


def test_dates_with_an_offset_keep_their_local_time(tmp_path: Path) -> None:
    moments = pd.Timestamp("2021-01-03") + pd.to_timedelta(chance().integers(0, 900, ROWS), unit="D")
    texts = [f"{moment:%Y-%m-%dT%H:%M:%S}{words('+01:00', '+02:00')[index]}" for index, moment in enumerate(moments)]
    assert made(tmp_path, table(seen=texts)).inputs["seen"]["format"] == "%Y-%m-%dT%H:%M:%S%z"


def test_days_that_might_be_months_are_flagged(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(seen=words("01/02/2024", "03/04/2024", "05/06/2024", "07/07/2024")))
    assert proposal.inputs["seen"]["format"] == "%d/%m/%Y"
    assert "the other way round" in about(proposal, "seen")


def test_dates_in_two_formats_are_not_taken_for_dates(tmp_path: Path) -> None:
    assert made(tmp_path, table(seen=words("2024-01-31", "31/01/2024", "2024-02-28"))).inputs["seen"]["type"] == "category"


def test_numbers_that_only_look_like_dates_stay_numbers(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(part=chance().integers(10_000_000, 99_999_999, ROWS) // 7 * 7))
    assert proposal.inputs["part"]["type"] == "integer"


def test_sentences_are_text(tmp_path: Path) -> None:
    notes = [f"a house with {number} windows and a garden" for number in range(ROWS)]
    proposal = made(tmp_path, table(note=notes))
    assert proposal.inputs["note"] == {"type": "text", "nullable": True}
    assert proposal.texts == ("note",)


def test_pairs_of_numbers_are_no_text(tmp_path: Path) -> None:
    places = [f"({50 + number / 1000}, {4 + number / 777:.5f})" for number in range(ROWS)]
    assert reason(made(tmp_path, table(location=places)), "location") == "nearly every row has its own value"


def test_whole_numbers_called_a_code_are_a_category(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(region_code=words(1, 2, 7, 30)))
    assert proposal.inputs["region_code"] == {"type": "category", "values": [1, 2, 7, 30]}


def test_whole_numbers_called_otherwise_stay_numbers(tmp_path: Path) -> None:
    assert made(tmp_path, table(rooms=words(1, 2, 7, 30))).inputs["rooms"]["type"] == "integer"


def test_a_list_in_which_nothing_is_rare_is_closed(tmp_path: Path) -> None:
    assert made(tmp_path, table(fuel=words("Petrol", "Diesel", "CNG"))).inputs["fuel"] == {
        "type": "category",
        "values": ["CNG", "Diesel", "Petrol"],
    }


def test_a_list_with_a_value_seen_once_takes_new_values(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(fuel=["LPG", *words("Petrol", "Diesel", "CNG")[1:]]))
    assert proposal.inputs["fuel"]["others"] is True
    contract = Contract(BrandConfig.model_validate(proposal.as_document("casa@house.example")).models["price"].inputs)
    assert contract.parse_rows([{"size": 50, "fuel": "Steam"}])["fuel"] == ["Steam"]


def test_many_values_are_a_category_by_their_mean_target(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(town=words(*(f"town {number}" for number in range(120)))))
    assert proposal.inputs["town"] == {"type": "category"}
    assert proposal.many_valued == ("town",)


def test_ranges_leave_room_and_stay_above_zero(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(km=chance().integers(10, 90_000, ROWS), change=chance().normal(size=ROWS).round(3)))
    assert proposal.inputs["km"]["min"] == 0
    assert 150_000 < proposal.inputs["km"]["max"] < 250_000
    assert proposal.inputs["change"]["min"] < -4


def test_places_and_years_have_ranges_of_their_own(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(lat=chance().uniform(51, 53, ROWS).round(4), build_year=chance().integers(1960, 2020, ROWS)))
    assert proposal.inputs["lat"] | {"privacy": ""} == {"type": "number", "min": -90, "max": 90, "privacy": ""}
    assert proposal.inputs["build_year"] == {"type": "integer", "min": 1940, "max": 2039}


# -- what is left out ----------------------------------------------------------------------------------------------


def test_a_constant_column_is_left_out(tmp_path: Path) -> None:
    assert reason(made(tmp_path, table(country=["NL"] * ROWS)), "country") == "the same in all rows"


def test_a_flag_that_is_set_or_empty_is_no_constant(tmp_path: Path) -> None:
    assert made(tmp_path, table(sale=words("X", None))).inputs["sale"] == {"type": "category", "values": ["X"], "nullable": True}


def test_a_column_that_is_nearly_empty_is_left_out(tmp_path: Path) -> None:
    assert "of the rows hold no value" in reason(made(tmp_path, table(remark=["new", "old", *[None] * (ROWS - 2)])), "remark")


def test_an_empty_column_is_left_out(tmp_path: Path) -> None:
    assert reason(made(tmp_path, table(remark=[None] * ROWS)), "remark") == "no row holds a value"


@pytest.mark.parametrize("name", ["id", "row#", "Unnamed: 0", "order_no", "Klantnummer", "uuid"])
def test_a_number_of_the_rows_is_left_out(tmp_path: Path, name: str) -> None:
    assert "every row has its own value" in reason(made(tmp_path, table(**{name: chance().permutation(ROWS) * 3 + 1000})), name)


def test_row_numbers_of_any_name_are_left_out(tmp_path: Path) -> None:
    assert "numbers the rows" in reason(made(tmp_path, table(volg=range(ROWS))), "volg")


def test_codes_of_which_every_row_has_its_own_are_left_out(tmp_path: Path) -> None:
    assert reason(made(tmp_path, table(code=[f"A{number:05}" for number in range(ROWS)])), "code") == "nearly every row has its own value"


def test_numbers_of_which_every_row_has_its_own_stay(tmp_path: Path) -> None:
    assert "km" in made(tmp_path, table(km=chance().permutation(ROWS * 50)[:ROWS])).inputs


def test_the_second_of_two_equal_columns_is_left_out(tmp_path: Path) -> None:
    fuel = words("Petrol", "Diesel", "CNG")
    short = [{"Petrol": "P", "Diesel": "D", "CNG": "C"}[value] for value in fuel]
    proposal = made(tmp_path, table(fuel=fuel, fuel_short=short, size_cm=(table()["size"] * 100).round(0)))
    assert reason(proposal, "fuel_short") == "says the same as fuel in every row"
    assert reason(proposal, "size_cm") == "says the same as size in every row"


def test_a_square_is_no_repetition(tmp_path: Path) -> None:
    assert "size_squared" in made(tmp_path, table(size_squared=(table()["size"] ** 2).round(2))).inputs


def test_a_function_of_the_target_is_reported_and_left_out_with_the_line_to_put_it_back(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(tax=[value * 0.01 for value in table()["price"]]))
    assert "alone gives the target away" in reason(proposal, "tax")
    assert left_out(proposal, "tax").field is not None
    assert any(decision.subject == "tax" and decision.attention for decision in proposal.decisions)


def test_a_category_that_gives_the_class_away_is_left_out(tmp_path: Path) -> None:
    sold = words("yes", "no")
    proposal = made(tmp_path, {**table(state=[{"yes": "closed", "no": "open"}[value] for value in sold]), "sold": sold}, "sold")
    assert "alone gives the target away" in reason(proposal, "state")


def test_a_column_named_after_the_target_is_reported_and_kept(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(old_price=chance().uniform(1, 9, ROWS).round(3)))
    assert "old_price" in proposal.inputs
    assert "its name holds the target's" in about(proposal, "old_price")


def test_a_person_may_keep_what_would_be_left_out_and_the_other_way_round(tmp_path: Path) -> None:
    columns = table(tax=[value * 0.01 for value in table()["price"]], rooms=words(1, 2, 3))
    proposal = made(tmp_path, columns, keep=["tax"], leave_out=["rooms"])
    assert "tax" in proposal.inputs
    assert reason(proposal, "rooms") == "you asked for it"


def test_a_table_without_a_usable_input_is_refused(tmp_path: Path) -> None:
    assert "no column is left to predict 'price' from" in refusal(
        tmp_path, {"id": range(ROWS), "country": ["NL"] * ROWS, "price": table()["price"]}
    )


# -- persons -------------------------------------------------------------------------------------------------------

PEOPLE = {
    "contact": [f"person{number}@mail.example" for number in range(ROWS)],
    "telefoon": [f"06{number:08}" for number in range(ROWS)],
    "Achternaam": [f"Jansen{number % 200}" for number in range(ROWS)],
    "rekening": [f"NL{number % 90 + 10}BANK0{number:09}" for number in range(ROWS)],
    "adres": [f"Kerkstraat {number}" for number in range(ROWS)],
}


@pytest.mark.parametrize("column", PEOPLE)
def test_what_says_who_it_is_is_left_out_and_asked(tmp_path: Path, column: str) -> None:
    proposal = made(tmp_path, table(**{column: PEOPLE[column]}))
    assert column not in proposal.inputs
    assert left_out(proposal, column).field is None or left_out(proposal, column).field["privacy"] == "personal"  # type: ignore[index]


@pytest.mark.parametrize("column", ["religion", "Ethnicity", "vakbond", "geaardheid"])
def test_protected_characteristics_are_left_out_until_a_person_says_otherwise(tmp_path: Path, column: str) -> None:
    columns = table(**{column: words("one", "other", "third")})
    proposal = made(tmp_path, columns)
    assert "looks like" in reason(proposal, column)
    assert [(question.column, question.default) for question in proposal.questions] == [(column, False)]
    kept = made(tmp_path, columns, keep=[column])
    assert kept.inputs[column]["privacy"] == "sensitive"
    assert kept.risk == "high"


@pytest.mark.parametrize(
    ("column", "values", "privacy"),
    [
        ("geslacht", ["M", "V"], "personal"),
        ("age", list(range(18, 80)), "personal"),
        ("Geboortedatum", ["1980-01-02", "1990-03-04", "1975-12-31"], "personal"),
        ("woonplaats", ["1011 AB", "2022 CD", "3033 EF"], "personal"),
        ("bloeddruk", list(range(80, 180)), "sensitive"),
    ],
)
def test_what_is_about_a_person_is_kept_declared_and_flagged(tmp_path: Path, column: str, values: list[Any], privacy: str) -> None:
    proposal = made(tmp_path, table(**{column: words(*values)}))
    assert proposal.inputs[column]["privacy"] == privacy
    assert proposal.risk == "medium"
    assert any(decision.subject == column and decision.attention for decision in proposal.decisions)


def test_a_rare_value_of_a_personal_field_is_not_written_down(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(gender=["rare answer", *words("F", "M")[1:]]))
    assert proposal.inputs["gender"]["values"] == ["F", "M"]
    assert proposal.inputs["gender"]["others"] is True
    assert "rare answer" not in repr(proposal)


@pytest.mark.parametrize(
    ("column", "values"), [("phone", ["yes", "no"]), ("email_visits", [0, 1, 2, 3]), ("color", ["white", "black", "red"])]
)
def test_plain_columns_are_not_taken_for_persons(tmp_path: Path, column: str, values: list[Any]) -> None:
    assert "privacy" not in made(tmp_path, table(**{column: words(*values)})).inputs[column]


# -- target and task -----------------------------------------------------------------------------------------------


def test_long_tailed_positive_numbers_are_prices(tmp_path: Path) -> None:
    columns = {**table(), "price": np.exp(chance().normal(8, 1, ROWS)).round(2)}
    assert (made(tmp_path, columns).ready, made(tmp_path, columns).metric) == ("prices", "mae")


def test_small_whole_numbers_from_zero_are_counts(tmp_path: Path) -> None:
    proposal = made(tmp_path, {**table(), "visits": chance().poisson(2, ROWS)}, "visits")
    assert (proposal.task, proposal.ready, proposal.metric) == (Task.REGRESSION, "counts", "rmse")


def test_other_numbers_are_amounts(tmp_path: Path) -> None:
    assert made(tmp_path, {**table(), "change": chance().normal(size=ROWS).round(3)}, "change").ready == "amounts"


@pytest.mark.parametrize(
    ("pair", "positive"), [(("yes", "no"), "yes"), ((1, 0), 1), ((0, 1), 1), (("nee", "ja"), "ja"), (("ham", "spam"), "spam")]
)
def test_two_values_are_yes_or_no_with_the_class_that_is_asked_for(tmp_path: Path, pair: tuple[Any, Any], positive: Any) -> None:
    proposal = made(tmp_path, {**table(), "answer": words(*pair)}, "answer")
    assert (proposal.task, proposal.positive, proposal.ready, proposal.metric) == (Task.BINARY, positive, "yes_no", "roc_auc")


def test_rare_positives_are_judged_by_average_precision(tmp_path: Path) -> None:
    proposal = made(tmp_path, {**table(), "fraud": [int(number % 12 == 0) for number in range(ROWS)]}, "fraud")
    assert proposal.metric == "average_precision"


def test_without_a_word_for_yes_the_rarer_is_positive_and_flagged(tmp_path: Path) -> None:
    proposal = made(tmp_path, {**table(), "fuel": ["Diesel" if number % 3 else "Petrol" for number in range(ROWS)]}, "fuel")
    assert proposal.positive == "Petrol"
    assert any(decision.subject == "target" and decision.attention for decision in proposal.decisions)


def test_several_words_are_classes(tmp_path: Path) -> None:
    proposal = made(tmp_path, {**table(), "kind": words("house", "flat", "boat")}, "kind")
    assert (proposal.task, proposal.ready, proposal.metric) == (Task.MULTICLASS, "classes", "log_loss")


def test_three_whole_numbers_are_classes_unless_a_person_says_otherwise(tmp_path: Path) -> None:
    columns = {**table(), "severity": words(0, 1, 2)}
    assert made(tmp_path, columns, "severity").task is Task.MULTICLASS
    assert made(tmp_path, columns, "severity", task=Task.REGRESSION).task is Task.REGRESSION


def test_a_text_that_decides_a_class_is_a_topic(tmp_path: Path) -> None:
    topics = words("cars", "boats")
    texts = [f"many words about {topic} and number {number}" for number, topic in enumerate(topics)]
    proposal = made(tmp_path, {"text": texts, "topic": topics}, "topic")
    assert (proposal.ready, proposal.texts) == ("topics", ("text",))


def test_rows_without_a_target_are_counted(tmp_path: Path) -> None:
    columns = table()
    proposal = made(tmp_path, {**columns, "price": [None if number % 4 == 0 else value for number, value in enumerate(columns["price"])]})
    assert "100 of 400 not used" in about(proposal, "rows")


def test_too_many_classes_are_refused_with_advice(tmp_path: Path) -> None:
    assert "has 80 classes; allowed: at most 50; merge them" in refusal(
        tmp_path, {**table(), "town": words(*(f"t{n}" for n in range(80)))}, "town"
    )


def test_a_name_as_target_is_refused_with_advice(tmp_path: Path) -> None:
    assert "looks like a name" in refusal(tmp_path, {**table(), "who": [f"name {number}" for number in range(ROWS)]}, "who")


def test_a_class_with_too_few_rows_is_too_little(tmp_path: Path) -> None:
    said = refusal(tmp_path, {**table(), "kind": ["boat", *words("house", "flat")[1:]]}, "kind")
    assert "too little: 1 of 3 classes" in said


def test_thirty_rows_are_too_little(tmp_path: Path) -> None:
    columns = {name: values[:30] for name, values in table().items()}
    assert "too little: 30 rows have a value of the target 'price', at least 40 are needed" in refusal(tmp_path, columns)


def test_sixty_rows_are_few_and_said(tmp_path: Path) -> None:
    proposal = made(tmp_path, {name: values[:60] for name, values in table().items()})
    assert "so few" in about(proposal, "rows")


@pytest.mark.parametrize(("values", "said"), [([None] * ROWS, "has no value in any"), ([3] * ROWS, "the same in all")])
def test_a_target_that_says_nothing_is_refused(tmp_path: Path, values: list[Any], said: str) -> None:
    assert said in refusal(tmp_path, {**table(), "price": values})


# -- split and slices ----------------------------------------------------------------------------------------------


def test_customers_that_come_again_lie_on_one_side(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(customer_id=words(*range(1000, 1100))))
    assert dict(proposal.split) == {"kind": "grouped", "by": "customer_id"}
    assert "names whom" in reason(proposal, "customer_id")


def test_rows_in_the_order_of_a_date_are_split_by_it(tmp_path: Path) -> None:
    days = (pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")).strftime("%d-%m-%Y")
    proposal = made(tmp_path, table(begin=days))
    assert dict(proposal.split) == {"kind": "time", "by": "begin", "format": "%d-%m-%Y"}


def test_a_date_of_birth_does_not_order_the_rows(tmp_path: Path) -> None:
    days = (pd.Timestamp("1960-01-01") + pd.to_timedelta(chance().integers(0, 9000, ROWS), unit="D")).strftime("%Y-%m-%d")
    assert made(tmp_path, table(birth_date=days)).split["kind"] == "random"


def test_a_date_with_gaps_is_said_and_the_split_is_random(tmp_path: Path) -> None:
    days = list((pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")).strftime("%Y-%m-%d"))
    proposal = made(tmp_path, table(date=[None, *days[1:]]))
    assert proposal.split["kind"] == "random"
    assert "some rows lack it" in about(proposal, "split")


def test_a_split_that_leaves_a_class_on_one_side_is_not_proposed(tmp_path: Path) -> None:
    days = (pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")).strftime("%Y-%m-%d")
    kinds = ["boat" if number < 20 else "flat" for number in range(ROWS)]
    proposal = made(tmp_path, {**table(date=days), "kind": kinds}, "kind", keep=["date"])
    assert proposal.split["kind"] == "random"
    assert "would leave too little on one side" in about(proposal, "split")


def test_slices_are_even_and_those_about_persons_come_first(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(garden=words("yes", "no"), fuel=words("a", "b", "c"), gender=words("F", "M", seed=8)))
    assert proposal.slices == ("gender", "garden")


# -- size and other sources ----------------------------------------------------------------------------------------


def test_a_hundred_columns_make_a_short_table(tmp_path: Path) -> None:
    proposal = made(tmp_path, table(**{f"x{number}": chance(number + 9).normal(size=ROWS).round(3) for number in range(100)}))
    assert proposal.columns == 102
    assert len(proposal.decisions) < 20


def test_sampling_is_said_aloud(tmp_path: Path) -> None:
    size = chance().normal(size=30_000).round(3)
    proposal = made(tmp_path, {"size": size, "price": (size * 3 + chance(3).normal(0, 5, 30_000)).round(3)})
    assert "20,000 of 30,000 compared" in about(proposal, "rows")
    assert (proposal.rows, proposal.sampled_rows) == (30_000, 20_000)


def test_a_querys_result_is_a_table_too(tmp_path: Path) -> None:
    rows = pd.DataFrame(table(sold=words(True, False), seen=words("2024-01-02", "2024-05-31", seed=8), rooms=words(1, 2, None)))
    source = {"kind": "sql", "url_env": "BRANDHOUSE_SECRET_CASA_DB", "query": "select 1"}
    proposal = propose_from_frame(rows, "price", name="casa", source=source, data={"file": "data/rows.csv.gz"})
    kinds = {name: FieldType(field["type"]) for name, field in proposal.inputs.items()}
    assert kinds == {"size": FieldType.NUMBER, "sold": FieldType.BOOLEAN, "seen": FieldType.DATE, "rooms": FieldType.INTEGER}
    assert proposal.source == source
    BrandConfig.model_validate(proposal.as_document("casa@house.example"))


CELLS = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=60, max_size=60))
def test_whatever_a_column_holds_a_training_takes_what_is_proposed(tmp_path: Path, cells: list[Any]) -> None:
    columns = {"size": chance().normal(size=60).round(3), "odd": cells, "price": chance(3).normal(size=60).round(3)}
    try:
        made(tmp_path, columns)
    except BrandhouseError as error:
        pytest.fail(f"refused: {error}")
