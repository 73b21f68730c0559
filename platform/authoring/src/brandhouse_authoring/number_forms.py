"""How the file writes what it means: which cells mean no value, the decimal sign, signs between thousands, stray blanks.

These hold for the dataset as a whole, because they are read before any type is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from brandhouse_authoring.decisions import Decision
from brandhouse_authoring.name_words import CODE, ID, name_words
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_flows.datasets import number_pattern, units_pattern
from brandhouse_shared.config import Dataset

EMPTY_WORDS = frozenset(
    {
        "?",
        "??",
        "-",
        "--",
        "---",
        ".",
        "n/a",
        "N/A",
        "#N/A",
        "#NULL!",
        "#DIV/0!",
        "#VALUE!",
        "#REF!",
        "<NA>",
        "\\N",
        "NaT",
        "nil",
        "(null)",
        "0000-00-00",
        "00-00-0000",
    }
)
"""Cells that mean no value in any column."""

_MARKS = frozenset({"-", "--", "---", "."})

EMPTY_AMONG_NUMBERS = EMPTY_WORDS | {
    *(
        "none",
        "None",
        "NONE",
        "unknown",
        "Unknown",
        "UNKNOWN",
        "missing",
        "Missing",
        "onbekend",
        "Onbekend",
        "leeg",
        "nvt",
        "n.v.t.",
        "NVT",
    ),
    *("nb", "n.b.", "geen", "Geen", "inf", "-inf", "Inf", "-Inf", "INF", "Infinity", "-Infinity", "na", "Na", "*"),
}
"""Cells that mean no value where all others are numbers; among words they may be a category."""

STRAY_SHARE = 0.05
"""Rows that may hold words in a column of numbers; with more it is no column of numbers."""

MAX_STRAY_WORDS = 5
_COMMA = re.compile(number_pattern(",", None))
_COMMA_GROUPED = re.compile(number_pattern(",", "."))
_GROUPED_COMMA = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
_MONEY = ("€", "$", "£", "¥", "EUR", "USD", "GBP", "CHF", "eur", "euro", ",-")
_UNITS = (*_MONEY, "%")
"""Signs beside numbers that do not change what they mean, as long as a column has the same one throughout."""

_SIGNED = re.compile(r"\s*[+-]?[.,]?\d[\d.,' ]*\s*")
_MONEY_BY_POINTS = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})*\s*")
_NINES = re.compile(r"-99+(\.0+)?|999+(\.0+)?")
FAR = 5.0
"""A number of nines so many times as large as all others means that there is none."""

_GROUPED_POINT = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})+\s*")


@dataclass
class Forms:
    """What was found: keys of the dataset, the columns as they are then read, and the decisions."""

    data: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, ColumnProfile] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    money: list[str] = field(default_factory=list)


def settle_forms(profiles: Mapping[str, ColumnProfile], separator: str) -> Forms:
    """Find out how cells are written, and read the columns accordingly.

    Args:
        profiles: The columns as they stand in the file. Not changed.
        separator: Between the cells of the file: where it is no comma, a comma inside a number is more likely a decimal sign.
    """
    forms = Forms(profiles=dict(profiles))
    _strip(forms)
    _drop_words_for_nothing(forms)
    _drop_units(forms)
    _settle_signs(forms, separator)
    _drop_stray_words(forms)
    _drop_nines(forms)
    if forms.data.get("missing"):
        forms.data["missing"] = [*Dataset.model_fields["missing"].default, *sorted(forms.data["missing"])]
    return forms


def _strip(forms: Forms) -> None:
    padded = [name for name, profile in forms.profiles.items() if _is_padded(profile)]
    if not padded:
        return
    forms.data["strip"] = True
    usual = Dataset.model_fields["missing"].default
    for name in padded:
        forms.profiles[name] = forms.profiles[name].rewritten(pc.utf8_trim_whitespace).without(usual)
    forms.decisions.append(Decision("file", "blanks dropped", f"cells of {len(padded)} columns begin or end with blanks"))


def _is_padded(profile: ColumnProfile) -> bool:
    return bool(pc.any(pc.match_substring_regex(profile.values, r"^\s|\s$")).as_py())


def _mean_nothing(forms: Forms, words: set[str]) -> None:
    """Read words as missing, in all columns: the dataset knows one list."""
    if words:
        forms.data.setdefault("missing", set()).update(words)
        forms.profiles = {name: profile.without(words) for name, profile in forms.profiles.items()}


def _drop_words_for_nothing(forms: Forms) -> None:
    found: set[str] = set()
    for profile in forms.profiles.values():
        # In a column of two or three marks, such as + and -, each of them says something.
        says_little = profile.distinct > 3 or bool(profile.is_number.any())
        found |= {word for word in (EMPTY_WORDS if says_little else EMPTY_WORDS - _MARKS) if _holds(profile, word)}
    _mean_nothing(forms, found)
    if found:
        forms.decisions.append(Decision("file", "words for nothing", f"{len(found)} words such as ? or n/a are read as: no value"))


def _holds(profile: ColumnProfile, word: str) -> bool:
    return bool(pc.index(profile.values, word).as_py() >= 0)


def _drop_units(forms: Forms) -> None:
    units: set[str] = set()
    pattern, columns = units_pattern(_UNITS), 0
    for name, profile in list(forms.profiles.items()):
        found = {unit for unit in _UNITS if any(unit in cell for cell in _sample(profile)[:50])}
        if not found or not _all([pattern.sub("", cell) for cell in _sample(profile)], _SIGNED):
            continue
        if all(pattern.sub("", cell) == cell for cell in _sample(profile)):
            continue
        units, columns = units | found, columns + 1
        forms.money += [name] if found & set(_MONEY) else []
        forms.profiles[name] = profile.rewritten(lambda values: pa.array([pattern.sub("", cell) for cell in values.to_pylist()]))
    if units:
        forms.data["units"] = sorted(units)
        said = f"numbers of {columns} columns stand beside {' and '.join(sorted(units))}; a request holds the number alone"
        forms.decisions.append(Decision("file", "signs beside numbers dropped", said))


def _settle_signs(forms: Forms, separator: str) -> None:
    written = {name: _sample(profile) for name, profile in forms.profiles.items() if profile.distinct and not profile.all_numbers}
    by_comma = [name for name, cells in written.items() if _all(cells, _COMMA, _COMMA_GROUPED)]
    by_groups = [name for name, cells in written.items() if _all(cells, _GROUPED_COMMA, re.compile(number_pattern(".", None)))]
    by_comma = [name for name in by_comma if not (name in by_groups and name in forms.money)]  # nobody writes three decimals of money
    surely_comma = [name for name in by_comma if name not in by_groups]
    money = [name for name in forms.money if _is_money_by_points(forms.profiles[name])]
    if surely_comma or money or (by_comma and separator != ","):
        points = [name for name, profile in forms.profiles.items() if profile.all_numbers and _all(_sample(profile), _GROUPED_POINT)]
        points = list(dict.fromkeys([*points, *money]))
        has_both = bool(money) or any("." in cell for name in by_comma for cell in written[name])
        _rewrite(forms, ",", "." if has_both else None, [*by_comma, *(points if has_both else [])], doubtful=not surely_comma and not money)
    elif by_groups:
        _rewrite(forms, ".", ",", by_groups, doubtful=False)


def _is_money_by_points(profile: ColumnProfile) -> bool:
    cells = _sample(profile)
    return _all(cells, _MONEY_BY_POINTS) and any("." in cell for cell in cells)


def _sample(profile: ColumnProfile) -> list[str]:
    return [cell for cell in profile.some if cell not in EMPTY_AMONG_NUMBERS]


def _all(cells: list[str], *forms: re.Pattern[str]) -> bool:
    return bool(cells) and all(any(form.fullmatch(cell) for form in forms) for cell in cells)


def _rewrite(forms: Forms, decimal: str, thousands: str | None, columns: list[str], *, doubtful: bool) -> None:
    def change(values: Any) -> Any:
        ungrouped = values if thousands is None else pc.replace_substring(values, thousands, "")
        return pc.replace_substring(ungrouped, decimal, ".")

    forms.data |= {} if decimal == "." else {"decimal": decimal}
    forms.data |= {} if thousands is None else {"thousands": thousands}
    pattern = re.compile(number_pattern(decimal, thousands))
    for name in columns:
        profile = forms.profiles[name]
        odd = {cell for cell in profile.values.to_pylist() if not pattern.fullmatch(cell)}
        if odd and _are_stray(profile, odd):
            _mean_nothing(forms, odd)
            odd = set()
        if not odd:
            forms.profiles[name] = forms.profiles[name].rewritten(change)
    said = f"decimal {'comma' if decimal == ',' else 'point'}" + (f", thousands by {thousands!r}" if thousands else "")
    forms.decisions.append(Decision("file", said, f"numbers of {len(columns)} columns are written so", attention=doubtful))


def _are_stray(profile: ColumnProfile, words: set[str]) -> bool:
    if words <= EMPTY_AMONG_NUMBERS:
        return True
    rows = sum(int(profile.counts[pc.index(profile.values, word).as_py()]) for word in words)
    return len(words) <= MAX_STRAY_WORDS and rows <= profile.known * STRAY_SHARE


def _drop_stray_words(forms: Forms) -> None:
    for name in list(forms.profiles):
        profile = forms.profiles[name]
        odd = profile.values.filter(np.logical_not(profile.is_number)).to_pylist() if profile.distinct else []
        if not odd or len(odd) == profile.distinct or profile.is_number.sum() < 5 or len(odd) > 40 or profile.has_leading_zeros:
            continue
        words = set(odd)
        if not _are_stray(profile, words) or any(
            _holds(other, word) for other in forms.profiles.values() if other is not profile for word in words
        ):
            continue
        rows = profile.known
        _mean_nothing(forms, words)
        lost = rows - forms.profiles[name].known
        forms.decisions.append(
            Decision(name, "words read as: no value", f"{lost:,} rows hold {len(words)} other words in a column of numbers", attention=True)
        )


def _drop_nines(forms: Forms) -> None:
    """Read -999 and the like as missing, where they can be no quantity; the dataset knows one list for all columns."""
    found = {name: numbers for name, profile in forms.profiles.items() if (numbers := _nines(profile))}
    meant = {number for numbers in found.values() for number in numbers}
    doubtful = {
        number
        for number in meant
        if any(number not in found.get(name, ()) and _written_as(profile, {number}) for name, profile in forms.profiles.items())
    }
    for name, numbers in found.items():
        said = " and ".join(f"{number:.0f}" for number in sorted(numbers))
        is_kept = bool(numbers & doubtful)
        decision = "kept, but look at it" if is_kept else f"{said} read as: no value"
        remark = f"; {said} may mean: no value, but another column has it, too" if is_kept else ""
        rows = _rows(forms.profiles[name], numbers)
        forms.decisions.append(Decision(name, decision, f"{rows:,} rows hold it, far from all others{remark}", attention=True))
    words = {word for profile in forms.profiles.values() for word in _written_as(profile, meant - doubtful)}
    _mean_nothing(forms, words)
    if words:
        forms.data["missing"] |= {raw for word in words for raw in _as_in_file(word, forms)}


def _nines(profile: ColumnProfile) -> set[float]:
    if not profile.all_numbers or profile.distinct < 5 or set(name_words(profile.name)) & (CODE | ID):
        return set()
    nines = {float(value) for value in profile.values.to_pylist() if _NINES.fullmatch(value)}
    others = profile.numbers[~np.isin(profile.numbers, list(nines))]
    if not nines or len(others) < 3:
        return set()
    low, high = float(others.min()), float(np.abs(others).max())
    return {number for number in nines if (number < 0 <= low) or (abs(number) >= FAR * high and _rows(profile, {number}) > 1)}


def _rows(profile: ColumnProfile, numbers: set[float]) -> int:
    return int(profile.counts[np.isin(profile.numbers, list(numbers))].sum())


def _written_as(profile: ColumnProfile, numbers: set[float]) -> set[str]:
    """The cells that hold one of the numbers: -999 may also stand as -999.0."""
    return set(profile.values.filter(pa.array(np.isin(profile.numbers, list(numbers)))).to_pylist())


def _as_in_file(word: str, forms: Forms) -> set[str]:
    """The forms in which the file may write a number that was read with a decimal point and without signs between thousands."""
    whole, _, fraction = word.strip().partition(".")
    grouped = f"{int(whole):,}".replace(",", forms.data.get("thousands", ""))
    return {f"{written}{forms.data.get('decimal', '.') + fraction if fraction else ''}" for written in (whole, grouped)}
