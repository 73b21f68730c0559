"""What each column is to a model: its type in the input schema, or the reason why it is left out.

Each column is judged by itself here. What needs two columns (duplicates, leaks) is in `column_relations`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from brandhouse_authoring.date_formats import guess_date_format
from brandhouse_authoring.decisions import Question
from brandhouse_authoring.name_words import CODE, COUNTING, ENTITY, HOW_MANY, ID, LONG_CODE, NUMBERING, YEAR, name_words
from brandhouse_authoring.number_ranges import declare_range
from brandhouse_authoring.privacy_signs import Concern, Sign, find_sign
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_shared.config import FieldType, Privacy
from brandhouse_shared.contracts import FALSE_WORDS, TRUE_WORDS
from brandhouse_shared.errors import join_bounded

MAX_LISTED_VALUES = 50
"""A category's values are written down up to here; longer lists are read by nobody."""

MAX_CODES = 15
"""Whole numbers that a name calls a code, such as `type`, are a category up to here without further signs."""

MAX_CATEGORY_VALUES = 2_000
"""With more values a category is learned by heart."""

MISSING_SHARE = 0.95
MIN_ROWS = 20
"""With fewer rows nothing can be said of how values come again."""

TEXT_BLANKS = 2.0
"""Mean blanks in a value from which words are read as free text; the linear baseline draws the line at the same place."""

TEXT_LETTERS = 0.5
VARIED_SHARE = 0.3
"""Different values a row from which a few words are a text; names of towns come again and again."""

LONG_TEXT_BLANKS = 6.0

MIN_DISCLOSED_ROWS = 10
"""A value of a personal field is written down only if at least so many rows share it."""

_ID_ENDING = re.compile(
    r"(klant|customer|user|order|member|polis|policy|account|dossier|patient|student|client|gebruiker|person|worker|household|firm|company"
    r"|county|city|school|store|product|item|hotel|team|player)(id|nr|nummer|number|no)$"
)
_WEEKDAYS = re.compile(r"day_?(of_?)?_?week|week_?day", re.IGNORECASE)
_PLAIN_WHOLE = re.compile(r"0|-?[1-9]\d{0,14}")


@dataclass(frozen=True, slots=True)
class Role:
    """What one column is.

    Attributes:
        name: Of the column.
        field: Keys of its declaration, at least `type`.
        decision: In a few words.
        why: In one sentence.
        attention: Whether a person should look.
        left_out: Why it is no input; empty if it is one.
        many_valued: Whether it is a category of so many values that each has few rows.
        is_protected: Whether it looks like a protected characteristic.
        question: What only a person knows.
    """

    name: str
    field: Mapping[str, Any] = field(default_factory=dict)
    decision: str = ""
    why: str = ""
    attention: bool = False
    left_out: str = ""
    many_valued: bool = False
    is_protected: bool = False
    question: Question | None = None

    @property
    def type(self) -> FieldType:
        """Type of the field."""
        return FieldType(self.field["type"])

    @property
    def is_input(self) -> bool:
        """Whether the model sees it."""
        return not self.left_out


def decide_role(profile: ColumnProfile) -> Role:
    """Decide one column by itself."""
    role = decide_type(profile)
    sign = find_sign(profile)
    return role if sign is None or profile.distinct < 2 else _with_sign(role, sign, profile)


def decide_type(profile: ColumnProfile) -> Role:
    """Decide type and use of one column, whatever it may say about persons."""
    role = _typed(profile)
    reason = _reason_to_leave_out(profile, role)
    return replace(role, left_out=reason) if reason else role


def _typed(profile: ColumnProfile) -> Role:
    for decide in (_empty, _boolean, _date, _number, _words):
        role = decide(profile)
        if role is not None:
            nullable = {"nullable": True} if profile.missing or role.type is FieldType.TEXT else {}
            return replace(role, field={**role.field, **nullable})
    raise AssertionError("words fit any column")


def _empty(profile: ColumnProfile) -> Role | None:
    if profile.distinct:
        return None
    return Role(profile.name, {"type": "text"}, "text", "no row holds a value")


def _boolean(profile: ColumnProfile) -> Role | None:
    if profile.distinct > 8:
        return None
    words = {value.strip().lower() for value in profile.values.to_pylist()}
    true, false = words & TRUE_WORDS, words & FALSE_WORDS
    if len(true) != 1 or len(false) != 1 or words != true | false:
        return None
    if words <= {"0", "1", "0.0", "1.0"} and set(name_words(profile.name)) & HOW_MANY:
        return None  # so far none or one; tomorrow two
    return Role(profile.name, {"type": "boolean"}, "yes or no", f"it holds {min(false)} and {min(true)}")


def _date(profile: ColumnProfile) -> Role | None:
    found = guess_date_format(profile)
    if found is None:
        return None
    date_format, ambiguous = found
    why = f"written as {date_format}" + ("; month and day might be meant the other way round" if ambiguous else "")
    return Role(profile.name, {"type": "date", "format": date_format}, "date", why, attention=ambiguous)


def _number(profile: ColumnProfile) -> Role | None:
    if not profile.all_numbers or (profile.has_leading_zeros and profile.all_whole):
        return None
    if profile.all_whole and _is_code(profile):
        return _category(profile, "codes", "whole numbers that stand for kinds, by the column's name")
    kind = "integer" if profile.all_whole else "number"
    said = "whole number" if profile.all_whole else "number"
    declared = declare_range(profile)
    return Role(profile.name, {"type": kind, **declared}, said, f"{profile.distinct:,} different values; allowed range is wider than seen")


def _is_code(profile: ColumnProfile) -> bool:
    words = set(name_words(profile.name))
    if not all(_PLAIN_WHOLE.fullmatch(value) for value in profile.some):
        return False
    if _WEEKDAYS.search(profile.name) and profile.distinct <= 7:
        return True
    limit = MAX_CATEGORY_VALUES if words & (LONG_CODE) else MAX_CODES
    return bool(words & (CODE | ID)) and profile.distinct <= min(limit, profile.known / 5) and not words & YEAR


def _words(profile: ColumnProfile) -> Role:
    share = profile.distinct / max(1, profile.known)
    is_name = bool(set(name_words(profile.name)) & {"name", "naam"}) and profile.mean_blanks < LONG_TEXT_BLANKS
    is_wordy = profile.mean_blanks >= TEXT_BLANKS or (profile.mean_blanks >= 1 and share > 0.9 and not profile.has_leading_zeros)
    is_prose = is_wordy and not is_name
    is_varied = share > VARIED_SHARE or profile.mean_blanks >= LONG_TEXT_BLANKS
    if is_prose and is_varied and profile.letter_share > TEXT_LETTERS and (profile.distinct > MAX_LISTED_VALUES or share > 0.5):
        declared = {"type": "text", **({"max_length": _round_up(2 * profile.max_length)} if profile.max_length > 10_000 else {})}
        return Role(profile.name, declared, "text", f"{profile.mean_blanks + 1:.0f} words a row")
    why = f"{profile.distinct:,} different values"
    mixed = profile.distinct > 1 and 0.02 < _share_of_numbers(profile) < 1
    return replace(_category(profile, "category", f"{why}, numbers and words mixed" if mixed else why), attention=mixed)


def _share_of_numbers(profile: ColumnProfile) -> float:
    return float(profile.counts[profile.is_number].sum() / max(1, profile.known))


def _round_up(length: int) -> int:
    return -(-length // 1000) * 1000


def _category(profile: ColumnProfile, what: str, why: str) -> Role:
    """Declare a category; open to new values where a new one is likely tomorrow.

    The chance that the next row holds a value never seen is about the share of values seen once (Good and Turing, 1953).
    """
    once = int((profile.counts == 1).sum())
    is_open = once > 0 or profile.known < 100 or profile.distinct > MAX_LISTED_VALUES
    many = profile.distinct > MAX_LISTED_VALUES
    whole = all(_PLAIN_WHOLE.fullmatch(value) for value in profile.some)
    listed = _values(profile, whole, 20 if many else MAX_LISTED_VALUES, 1)
    declared: dict[str, Any] = {"type": "category"}
    if listed and (not many or whole):
        declared["values"] = listed
        if is_open:
            declared["others"] = True
    allowed = "new values are taken too" if is_open else "others are refused"
    return Role(profile.name, declared, f"{what} ({profile.distinct:,} values)", f"{why}; {allowed}", many_valued=many)


def _values(profile: ColumnProfile, whole: bool, limit: int, min_rows: int) -> list[str | int]:
    order = np.argsort(-profile.counts, kind="stable")[:limit]
    texts = [profile.values[int(place)].as_py() for place in order if profile.counts[place] >= min_rows]
    return sorted(int(text) for text in texts) if whole else sorted(texts)


def _reason_to_leave_out(profile: ColumnProfile, role: Role) -> str:
    if not profile.known:
        return "no row holds a value"
    if profile.missing_share >= MISSING_SHARE:
        return f"{np.floor(profile.missing_share * 1000) / 10:.1f}% of the rows hold no value"
    if profile.distinct == 1 and not profile.missing:
        return "the same in all rows"
    return _identifier(profile, role)


def _identifier(profile: ColumnProfile, role: Role) -> str:
    if role.type not in (FieldType.INTEGER, FieldType.CATEGORY) or profile.known < MIN_ROWS:
        return ""
    named = _is_named_id(profile.name)
    is_unique = profile.distinct == profile.known
    if is_unique and profile.all_whole and (named or _is_sequence(profile)):
        return "it numbers the rows: every row has its own value"
    if role.type is FieldType.CATEGORY and profile.distinct > 0.9 * profile.known:
        return "nearly every row has its own value"
    if role.type is FieldType.CATEGORY and profile.distinct > MAX_CATEGORY_VALUES:
        return f"it has {profile.distinct:,} different values, too many to learn from"
    if named and role.type is FieldType.INTEGER and profile.distinct > MAX_LISTED_VALUES:
        return "it names things: its numbers are no quantity"
    return ""


def _is_named_id(name: str) -> bool:
    words = name_words(name)
    if not words or set(words) & COUNTING:
        return name.strip() == "#"
    if name.strip().startswith("#"):
        return False  # "# rooms": how many, while "room #" says which
    return bool(set(words) & ID or words[-1] in NUMBERING or _ID_ENDING.search("".join(words)) or "#" in name)


def _is_sequence(profile: ColumnProfile) -> bool:
    """Whether whole numbers run on with hardly a gap, as row numbers do."""
    return float(np.ptp(profile.numbers)) + 1 <= 1.05 * profile.known


def names_entity(profile: ColumnProfile) -> bool:
    """Whether a column names whom several rows are about, so that those rows must stay on one side of a split."""
    words = name_words(profile.name)
    named = _is_named_id(profile.name) and (set(words) & ENTITY or words in (["id"], ["nr"]) or _ID_ENDING.search("".join(words)))
    repeats = profile.known / max(1, profile.distinct)
    return bool(named and profile.distinct >= 20 and repeats >= 1.1 and profile.missing_share <= 0.05)


def _with_sign(role: Role, sign: Sign, profile: ColumnProfile) -> Role:
    declared = {**role.field, "privacy": sign.privacy.value}
    if "values" in declared:
        shared = int(profile.counts.min()) >= MIN_DISCLOSED_ROWS
        if not shared:
            whole = all(isinstance(value, int) for value in declared["values"])
            told = _values(profile, whole, MAX_LISTED_VALUES, MIN_DISCLOSED_ROWS)
            declared = {key: value for key, value in declared.items() if key not in ("values", "others")}
            declared |= {"values": told, "others": True} if told else {}
    flagged = replace(role, field=declared, is_protected=sign.concern is Concern.PROTECTED)
    if role.left_out:
        identifies = sign.concern is Concern.IDENTITY
        return replace(flagged, left_out=f"looks like {sign.what}", attention=True) if identifies else flagged
    keeps = sign.concern in (Concern.PERSONAL, Concern.HEALTH)
    kept = "kept, and never logged" if keeps else "left out until you say otherwise"
    question = Question(role.name, f"{role.name} looks like {sign.what}. May the model use it?", keeps)
    return replace(
        flagged,
        why=f"looks like {sign.what} ({sign.concern.value}): {kept}",
        attention=True,
        left_out="" if keeps else f"looks like {sign.what}",
        question=question,
    )


def describe(role: Role) -> str:
    """The decision in a few words, for the table."""
    privacy = role.field.get("privacy", Privacy.PUBLIC.value)
    return join_bounded([role.decision, *([privacy] if privacy != Privacy.PUBLIC.value else [])])
