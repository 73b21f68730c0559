"""When models are trained by themselves: is it a time, does it ever come, is it too often, do several come at once?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from brandhouse_shared.config import BrandConfig, Schedule

RUNS_AT_ONCE = 2
"""Of one brand's queue, see `deployments.RUNS_PER_BRAND`; not imported, for it brings in the whole engine."""

LOOKED_AHEAD = timedelta(days=35)
"""A month and a bit: monthly schedules that clash are seen, too."""

_START = datetime(2024, 1, 1, tzinfo=UTC)
Fault = tuple[str, Sequence[str], str]
"""Rule, path of the key in `brand.toml`, what is wrong."""


def schedule_faults(config: BrandConfig) -> Iterator[Fault]:
    """Yield what is wrong with the schedules of a brand's models and datasets, one by one and together."""
    sound: dict[str, Schedule] = {}
    for path, schedule in _schedules(config):
        faults = list(_faults_of(path, schedule))
        yield from faults
        if path[0] == "models" and not any(rule in ("schedule-cron", "schedule-timezone") for rule, _, _ in faults):
            sound[path[1]] = schedule
        if not config.capabilities.gets_new_data:
            yield "schedule-without-data", path, f"{path[1]} has a schedule, and the brand gets no new data"
    yield from _clashes(sound)


def _schedules(config: BrandConfig) -> Iterator[tuple[tuple[str, str, str], Schedule]]:
    for name, dataset in config.datasets.items():
        if dataset.schedule:
            yield ("datasets", name, "schedule"), dataset.schedule
    for name, model in config.models.items():
        if model.schedule:
            yield ("models", name, "schedule"), model.schedule


def _faults_of(path: tuple[str, str, str], schedule: Schedule) -> Iterator[Fault]:
    kind, name, _ = path
    problem = _cron_problem(schedule.cron)
    if problem:
        yield "schedule-cron", (*path, "cron"), f"schedule {schedule.cron!r} of {name} {problem}"
    elif kind == "models" and _is_often(schedule.cron):
        yield "schedule-often", (*path, "cron"), f"schedule {schedule.cron!r} of {name} trains more often than once an hour"
    if not _is_timezone(schedule.timezone):
        yield "schedule-timezone", (*path, "timezone"), f"schedule of {name}: unknown time zone {schedule.timezone!r}"


def _cron_problem(cron: str) -> str | None:
    if len(cron.split()) != 5:
        return "is no cron expression"
    try:
        next(CronSim(cron, _START))
    except CronSimError:
        return "is no cron expression"
    except StopIteration:
        return "never comes true: there is no such day"
    return None


def _is_often(cron: str) -> bool:
    """Whether it comes at several minutes of an hour; read off the expression, for walking through its times is slow."""
    return len(CronSim(cron, _START).minutes) > 1


def _clashes(schedules: dict[str, Schedule]) -> Iterator[Fault]:
    if len(schedules) <= RUNS_AT_ONCE:
        return
    starts = {name: _starts(schedule) for name, schedule in schedules.items()}
    counted = Counter(moment for moments in starts.values() for moment in moments)
    crowded = next((moment for moment, count in sorted(counted.items()) if count > RUNS_AT_ONCE), None)
    if crowded is not None:
        names = [name for name, moments in starts.items() if crowded in moments]
        what = f"{', '.join(names)} start at the same minute; the queue runs {RUNS_AT_ONCE} at once"
        yield "schedule-clash", ("models", names[RUNS_AT_ONCE], "schedule", "cron"), what


def _starts(schedule: Schedule) -> set[datetime]:
    start = _START.astimezone(ZoneInfo(schedule.timezone))
    return {moment.astimezone(UTC) for moment in takewhile(lambda moment: moment < start + LOOKED_AHEAD, CronSim(schedule.cron, start))}


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
