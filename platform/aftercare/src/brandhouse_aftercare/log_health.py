"""The prediction log itself: can it be read, is each answer in it once, and did the clock that dated them stand right?

A torn file or a jumping clock makes all other checks of a model less certain, so it is told beside them.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from brandhouse_aftercare.checks import Finding, State, Watch
from brandhouse_aftercare.log_files import Damage, day_names, model_folder, read_journals, read_tables, to_ms
from brandhouse_serving.prediction_table import day_of, find_parts

TOLERATED_SKEW = timedelta(minutes=10)
"""Clocks of two machines may differ by so much."""

TOLD_FILES = 10
FAR_PAST_MARGIN = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Misdated:
    """Answers with times that cannot be.

    Attributes:
        future: After now.
        past: Older than the log is kept, although the keeper has deleted what is so old.
    """

    future: int
    past: int


class LogCheck:
    """Looks at the log as such."""

    name = "log"

    def look(self, watch: Watch) -> Finding:
        """See `Check.look`."""
        answers = watch.answers
        damage = Damage(list(answers.damage.files), answers.damage.lines)
        misdated = _misdated(watch, damage)
        faults = list(_say_faults(damage, misdated))
        facts = {
            "unit": "files, lines and rows that are wrong",
            "damaged_files": damage.files[:TOLD_FILES],
            "damaged_lines": damage.lines,
            "duplicates": answers.duplicates,
            "future_rows": misdated.future,
            "past_rows": misdated.past,
        }
        wrong = len(damage.files) + damage.lines + misdated.future + misdated.past
        twice = f"; {answers.duplicates:,} answers were in it twice and counted once" if answers.duplicates else ""
        if faults:
            return Finding(self.name, State.RED, "; ".join(faults) + twice, float(wrong), 0.0, answers.rows, facts)
        if not answers.rows and not day_names(watch.home, watch.key):
            return Finding(self.name, State.UNKNOWN, "there is no log yet", 0.0, 0.0, 0, facts)
        return Finding(self.name, State.GREEN, f"all files can be read{twice}", 0.0, 0.0, answers.rows, facts)


def _say_faults(damage: Damage, misdated: Misdated) -> list[str]:
    told = (
        (len(damage.files), f"{len(damage.files)} files cannot be read, such as {damage.files[0]}" if damage.files else ""),
        (damage.lines, f"{damage.lines:,} lines of journals hold no answer"),
        (misdated.future, f"{misdated.future:,} answers are dated in the future: a clock jumped"),
        (misdated.past, f"{misdated.past:,} answers are dated before all that is kept: a clock jumped"),
    )
    return [text for count, text in told if count]


def _misdated(watch: Watch, damage: Damage) -> Misdated:
    """Count answers of days that are none. Parquet files have one folder a day: only those of wrong days are opened."""
    end = to_ms(watch.now + TOLERATED_SKEW)
    far = to_ms(watch.now + timedelta(days=366_000))
    ahead = Damage([])
    future = sum(table.num_rows for table in read_tables(watch.home, watch.key, end, far, ["at"], ahead))
    damage.files += [name for name in ahead.files if name not in damage.files]
    oldest = watch.now - timedelta(days=watch.brand.config.retention.predictions_days) - FAR_PAST_MARGIN
    return Misdated(future, _rows_before(watch, to_ms(oldest)))


def _rows_before(watch: Watch, first_ms: int) -> int:
    old_days = [day for day in day_names(watch.home, watch.key) if day < day_of(first_ms)]
    parts = [part for day in old_days for part in find_parts(model_folder(watch.home, watch.key) / day)]
    in_journals = read_journals(watch.home, watch.key, -(2**62), first_ms, ["at"], Damage([]))
    return sum(_rows_of(part) for part in parts) + sum(len(table) for table in in_journals)


def _rows_of(part: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(part)
    except (pa.ArrowException, OSError, ValueError):
        return 0
    return int(metadata.num_rows)
