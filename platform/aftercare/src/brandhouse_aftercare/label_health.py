"""The check of the labels themselves: do they come as they used to, and do they keep their rules?

Everything that is said about a model's quality rests on them, so they are looked at first.
"""

import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.label_joins import LOOK_BACK_DAYS, LabelBook, LabelFaults
from brandhouse_aftercare.log_files import to_ms
from brandhouse_flows.wording import say_number, say_share
from brandhouse_serving.prediction_table import DAY_MS
from brandhouse_shared.errors import ArtifactCorruptError

NEWEST_DAYS = 7
"""Labels of the last so many days are held against what earlier weeks let expect: most houses work in weeks."""

EXPECTED_AT_LEAST = 20.0
"""Where fewer labels are expected, their absence says nothing."""

LATE_SHARE = 0.5
"""Fewer than this share of the expected labels is late, and not only a weaker week."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Labels of the newest days beside what earlier delays let expect.

    Attributes:
        days: How many days "newest" are.
        expected: NaN: there is too little history to expect anything.
        chance: Probability of so few labels, if they came as before (Poisson).
    """

    days: int
    received: int
    expected: float
    chance: float


class LabelCheck:
    """See the module."""

    name = "labels"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        refused = why_no_labels(watch)
        if refused is not None:
            return Finding(self.name, *refused)
        try:
            book = watch.labels
        except ArtifactCorruptError:
            return Finding(self.name, State.UNKNOWN, "the files of the version in production cannot be read, and its classes not be told")
        arrival = expect_labels(book, to_ms(watch.until))
        facts = _facts(watch, book, arrival)
        if book.faults.total:
            return Finding(self.name, State.RED, _say_faults(book.faults), book.faults.total, 0, book.rows, facts)
        if is_late(arrival, watch.alarm_share):
            detail = (
                f"{arrival.received:,} labels came in the last {arrival.days} days; by the delays before them "
                f"{say_number(round(arrival.expected))} were to be expected"
            )
            return Finding(self.name, State.RED, detail, arrival.received, LATE_SHARE * arrival.expected, book.rows, facts)
        if not book.rows:
            answers = sum(book.answered_by_day.values())
            return Finding(self.name, State.UNKNOWN, f"no label yet for {answers:,} answers of {LOOK_BACK_DAYS} days", rows=0, facts=facts)
        return Finding(self.name, State.GREEN, describe_labels(book), rows=book.rows, facts=facts)


def why_no_labels(watch: Watch) -> tuple[State, str] | None:
    """State and reason where labels cannot be looked at; None where they can."""
    capabilities = watch.brand.config.capabilities
    if not capabilities.gets_labels:
        return State.NOT_APPLICABLE, "the brand does not learn the truth (gets_labels = false)"
    if not capabilities.may_store_predictions:
        return State.NOT_APPLICABLE, "the brand keeps no answers that a label could be joined to (may_store_predictions = false)"
    if watch.version is None:
        return State.NOT_APPLICABLE, "no version is in production"
    return None


def describe_labels(book: LabelBook) -> str:
    """Say how many answers have a label, and how old labels are when they come."""
    answers = sum(book.answered_by_day.values())
    share = say_share(round(book.rows / answers, 3)) if answers else "unknown"
    middle, late = np.quantile(book.delay_days, [0.5, 0.9])
    return (
        f"{book.rows:,} labels, for {share} of the answers of {LOOK_BACK_DAYS} days; half of them within {_say_days(middle)}, nine in "
        f"ten within {_say_days(late)}; whether labelled answers are like the others cannot be known"
    )


def expect_labels(book: LabelBook, end_ms: int) -> Arrival:
    """Count the labels of the newest days, and those that the answers and the delays before let expect.

    Share and delays of labels are told from what came in before the newest days; from them follows, for each day of
    answers, how many of its labels fall into the newest days.
    """
    days = max(NEWEST_DAYS, 2 * _longest_gap_days(book, end_ms))
    begin = end_ms - days * DAY_MS
    newest = book.label_at_ms >= begin
    earlier = _Delays(book, begin)
    if not earlier.is_known:
        return Arrival(days, int(newest.sum()), math.nan, math.nan)
    expected = sum(
        count * earlier.share * (earlier.known_within(_age_days(day, end_ms)) - earlier.known_within(_age_days(day, begin)))
        for day, count in book.answered_by_day.items()
    )
    return Arrival(days, int(newest.sum()), expected, _poisson_at_most(int(newest.sum()), expected))


def is_late(arrival: Arrival, alarm_share: float) -> bool:
    """Whether labels stay away."""
    if not arrival.expected >= EXPECTED_AT_LEAST:
        return False
    return arrival.received < LATE_SHARE * arrival.expected and arrival.chance < alarm_share


class _Delays:
    """Share and delays of labels, as far as was known at some time."""

    def __init__(self, book: LabelBook, until_ms: int) -> None:
        came = book.label_at_ms < until_ms
        self._delays = np.sort(book.delay_days[came])
        # Answers that had as much time as nine in ten labels take; younger ones would make the share too small.
        matured = self._delays[int(0.9 * (len(self._delays) - 1))] if len(self._delays) else math.inf
        old = {day: count for day, count in book.answered_by_day.items() if _age_days(day, until_ms) >= matured + 1}
        answers = sum(old.values())
        labelled = int((came & np.isin(book.at_ms // DAY_MS, list(old))).sum())
        self.is_known = answers > 0 and len(old) >= NEWEST_DAYS and labelled >= EXPECTED_AT_LEAST
        self.share = labelled / answers if answers else math.nan

    def known_within(self, age_days: float) -> float:
        """Share of all labels that have come when an answer is so old."""
        return float(np.searchsorted(self._delays, age_days, "right")) / len(self._delays) if age_days > 0 else 0.0


def _longest_gap_days(book: LabelBook, end_ms: int) -> int:
    """Longest time between two days with labels, in what came before the newest days: labels may come in monthly files."""
    days = np.unique(book.label_at_ms[book.label_at_ms < end_ms - NEWEST_DAYS * DAY_MS] // DAY_MS)
    return int(np.diff(days).max()) if len(days) > 1 else 0


def _age_days(day: int, at_ms: int) -> float:
    """Age of the middle of a day."""
    return at_ms / DAY_MS - (day + 0.5)


def _poisson_at_most(count: int, expected: float) -> float:
    from scipy.stats import poisson

    return float(poisson.cdf(count, expected))


def _say_faults(faults: LabelFaults) -> str:
    words = {
        "repeated": "given again",
        "early": "older than their answer",
        "unmatched": "for no answer in the log",
        "foreign": "no class of the model, or no number",
        "torn": "unreadable",
    }
    said = [f"{count:,} {words[name]}" for name, count in asdict(faults).items() if count and name in words]
    other = f" ({faults.contradicting:,} of those given again say something else)" if faults.contradicting else ""
    return f"labels that break their rules and are left out: {', '.join(said)}{other}"


def _facts(watch: Watch, book: LabelBook, arrival: Arrival) -> dict[str, Any]:
    answers = sum(book.answered_by_day.values())
    delays: NDArray[np.float64] = np.quantile(book.delay_days, [0.5, 0.9]) if book.rows else np.full(2, np.nan)
    return {
        "labels": book.rows,
        "answers": answers,
        "labelled_share": book.rows / answers if answers else None,
        "delay_days_median": float(delays[0]),
        "delay_days_90": float(delays[1]),
        "faults": asdict(book.faults),
        "newest_days": arrival.days,
        "newest": arrival.received,
        "newest_expected": arrival.expected,
        "since": (watch.until - timedelta(days=LOOK_BACK_DAYS)).isoformat(),
    }


def _say_days(days: float) -> str:
    return f"{say_number(days)} days" if days >= 1 else f"{say_number(24 * days)} hours"
