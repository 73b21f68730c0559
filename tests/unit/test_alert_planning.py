"""What becomes of a signal. Every test runs whole calls of `tell` with a clock of its own; routes are the log."""

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from data_house import brand_maker

from brandhouse_aftercare.alert_signals import AlertState
from brandhouse_aftercare.alerting import Signal, tell
from brandhouse_aftercare.silences import holds
from brandhouse_shared.alerts import Severity, Silence
from brandhouse_shared.brands import Brand, find_brand
from brandhouse_shared.errors import BrandConfigError
from brandhouse_shared.ledger import open_ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.settings import Settings

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class World:
    """A brand, a ledger and a clock."""

    def __init__(self, brand: Brand, ledger: Any) -> None:
        self.brand = brand
        self.ledger = ledger
        self.now = NOON

    def tell(self, *signals: Signal, after: timedelta = timedelta(0)) -> list[Entry]:
        self.now += after
        return tell(self.ledger, self.brand, signals, now=self.now, environment={})

    def states(self, *signals: Signal, after: timedelta = timedelta(0)) -> list[str]:
        """What was decided, one state a signal, and what was sent of what waited."""
        return [entry.state for entry in self.tell(*signals, after=after) if entry.state != AlertState.SENDING]

    def messages(self) -> dict[str, list[Entry]]:
        sent: dict[str, list[Entry]] = {}
        for entry in self.ledger.entries(EntryKind.ALERT, self.brand.name, oldest_first=True):
            if entry.state == AlertState.SENT:
                sent.setdefault(entry.facts["message"], []).append(entry)
        return sent


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> MakeWorld:
    settings = Settings(root=tmp_path, home=tmp_path / "home", ledger_url=SecretStr(f"sqlite:///{tmp_path}/ledger.db"))
    make_brand = brand_maker(settings, tmp_path)

    def make(alerts: str = "", name: str = "casa") -> World:
        make_brand(name, more=f"[alerts]\n{alerts}")
        return World(find_brand(settings.brands_dir, name), open_ledger(settings.ledger_url.get_secret_value()))

    return make


def red(check: str = "drift.size", model: str = "price", severity: Severity = Severity.WARNING, **more: Any) -> Signal:
    return Signal(check, "red", "the effect is 0.4", model, severity=severity, **more)


def green(check: str = "drift.size", model: str = "price") -> Signal:
    return Signal(check, "green", "the effect is 0.01", model)


def test_what_was_never_red_is_not_written_down(make_world: MakeWorld) -> None:
    assert make_world().tell(green()) == []


def test_red_check_is_told_once_and_counted_until_it_is_time_to_repeat(make_world: MakeWorld) -> None:
    world = make_world("repeat_hours = 24")
    assert world.states(red()) == ["sent"]
    assert [world.states(red(), after=HOUR) for _ in range(23)] == [["grouped"]] * 23
    (told,) = [entry for entry in world.tell(red(), after=HOUR) if entry.state == "sent"]
    assert (told.facts["count"], told.facts["since"]) == (25, NOON.isoformat())


def test_recovery_is_told_once_and_only_of_what_was_told(make_world: MakeWorld) -> None:
    world = make_world('[alerts.checks."quiet.*"]\nmuted = true')
    assert world.states(red(), red("quiet.one")) == ["muted", "sent"]
    (*_, recovered) = world.tell(green(), green("quiet.one"), after=HOUR)
    assert (recovered.name, recovered.state, recovered.facts["signal"]) == ("drift.size", "sent", "green")
    assert world.tell(green(), green("quiet.one"), after=HOUR) == []
    states = {entry.name: entry.state for entry in world.ledger.newest_entries(EntryKind.ALERT)}
    assert states == {"drift.size": "sent", "quiet.one": "recovered"}


def test_checks_of_one_model_come_in_one_message(make_world: MakeWorld) -> None:
    world = make_world()
    world.tell(red("drift.size"), red("drift.rooms"), red("skew"), red("drift.size", model="rent"))
    assert sorted(len(entries) for entries in world.messages().values()) == [1, 3], "one message a model"


def test_further_checks_of_a_model_wait_for_the_window_and_come_together(make_world: MakeWorld) -> None:
    world = make_world("group_minutes = 60")
    minutes = timedelta(minutes=10)
    assert world.states(red("drift.size")) == ["sent"]
    assert world.states(red("drift.rooms"), after=minutes) == ["grouped"]
    assert world.states(red("skew"), after=minutes) == ["grouped"]
    assert world.states(after=minutes) == []
    assert world.states(after=timedelta(minutes=31)) == ["sent", "sent"], "nothing is said by the call that sends them"
    assert [sorted(entry.name for entry in entries) for entries in world.messages().values()] == [["drift.size"], ["drift.rooms", "skew"]]


def test_what_waited_and_is_well_meanwhile_is_told_nobody(make_world: MakeWorld) -> None:
    world = make_world()
    world.tell(red("drift.size"))
    assert world.states(red("skew"), after=timedelta(minutes=5)) == ["grouped"]
    assert world.states(green("skew"), after=timedelta(minutes=5)) == ["recovered"]
    assert world.states(after=DAY) == []


def test_more_urgent_check_does_not_wait(make_world: MakeWorld) -> None:
    world = make_world()
    world.tell(red())
    assert world.states(red("gone", severity=Severity.CRITICAL), after=timedelta(minutes=1)) == ["sent"]
    assert world.states(red(severity=Severity.CRITICAL), after=timedelta(minutes=1)) == ["grouped"], "critical ones wait for each other"


def test_budget_is_kept_and_the_last_message_says_so(make_world: MakeWorld) -> None:
    world = make_world("weekly_budget = 2")
    models = [f"m{number}" for number in range(4)]
    entries = world.tell(*(red(model=model) for model in models))
    assert [entry.state for entry in entries].count("over budget") == 2
    assert world.states(red(model="m9"), after=HOUR) == ["over budget"]
    notices = [entries for entries in world.messages().values() if entries[0].name == "alerts.budget"]
    assert len(notices) == 1, "said once a week"
    assert "brandhouse alerts casa" in notices[0][0].detail
    assert len(world.messages()) == 3, "two messages and the notice"


def test_critical_alerts_are_sent_beyond_the_budget(make_world: MakeWorld) -> None:
    world = make_world("weekly_budget = 1")
    world.tell(red())
    assert world.states(red("gone", severity=Severity.CRITICAL), red("drift.rooms", model="rent"), after=HOUR * 2) == [
        "over budget",
        "sent",
        "sent",
    ]
    (critical,) = [entry for entries in world.messages().values() for entry in entries if entry.name == "gone"]
    assert critical.facts["beyond_budget"]


def test_budget_comes_back_after_seven_days_and_what_is_still_red_is_told(make_world: MakeWorld) -> None:
    world = make_world("weekly_budget = 1")
    assert world.states(red()) == ["sent"]
    assert world.states(red("skew", model="rent"), after=DAY) == ["over budget", "sent"], "the second is the notice"
    assert world.states(red("skew", model="rent"), after=DAY * 5) == ["over budget"]
    assert world.states(red("skew", model="rent"), after=DAY + HOUR) == ["sent"]


def test_recoveries_cost_nothing_of_the_budget(make_world: MakeWorld) -> None:
    world = make_world("weekly_budget = 2")
    world.tell(red())
    assert world.states(green(), red(model="rent"), after=DAY) == ["sent", "sent"]


def test_it_is_said_every_week_that_the_budget_is_used_up(make_world: MakeWorld) -> None:
    world = make_world("weekly_budget = 1\nrepeat_hours = 1")
    for _ in range(10):
        world.tell(red(), red("skew", model="rent"), after=DAY)
    assert sum(entries[0].name == "alerts.budget" for entries in world.messages().values()) == 2


def test_models_do_not_wait_for_each_other(make_world: MakeWorld) -> None:
    world = make_world()
    world.tell(red())
    assert world.states(red(model="rent"), after=timedelta(minutes=5)) == ["sent"]


NIGHT = '[alerts.silences.night]\nstart = "22:00"\nend = "07:00"\n'


def test_silence_holds_back_until_it_ends_and_tells_what_is_still_red(make_world: MakeWorld) -> None:
    world = make_world(NIGHT)
    world.now = datetime(2026, 3, 4, 22, 30, tzinfo=UTC)  # half past eleven in Amsterdam
    assert world.states(red("drift.size"), red("skew", model="rent"), red("drift.rooms")) == ["silenced"] * 3
    assert world.states(green("skew", model="rent"), after=HOUR * 6) == ["recovered"]
    assert world.states(after=timedelta(minutes=89)) == [], "06:59 in Amsterdam"
    assert world.states(after=timedelta(minutes=1)) == ["sent", "sent"]
    ((first, second),) = world.messages().values()
    assert {first.name, second.name} == {"drift.size", "drift.rooms"}, "one digest"
    assert world.states(after=DAY) == [], "told once"


def test_digest_goes_out_with_a_run_that_finds_it_still_red(make_world: MakeWorld) -> None:
    world = make_world(NIGHT)
    world.now = datetime(2026, 3, 4, 22, 30, tzinfo=UTC)
    world.tell(red("drift.size"), red("skew", model="rent"))
    assert world.states(red("drift.size"), after=HOUR * 9) == ["sent", "sent"]
    assert len(world.messages()) == 1


def test_recovery_in_a_silence_is_told_afterwards(make_world: MakeWorld) -> None:
    world = make_world(NIGHT)
    world.tell(red())
    world.now = datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
    assert world.states(green()) == ["silenced"]
    assert world.states(green(), after=HOUR) == []
    assert world.states(green(), after=HOUR * 10) == ["sent"]
    assert world.states(green(), after=HOUR) == []


def test_critical_alerts_break_a_silence_unless_it_says_otherwise(make_world: MakeWorld) -> None:
    midnight = datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
    world, strict = make_world(NIGHT), make_world(NIGHT + "also_critical = true", name="villa")
    for one, expected in ((world, ["sent"]), (strict, ["silenced"])):
        one.now = midnight
        assert one.states(red(severity=Severity.CRITICAL)) == expected


def test_brand_says_how_urgent_a_check_is_and_where_it_goes(make_world: MakeWorld) -> None:
    world = make_world(
        'critical_route = "pager"\n[alerts.checks."drift.*"]\nseverity = "info"\n[alerts.checks.gone]\nseverity = "critical"\n'
        '[alerts.routes.pager]\nkind = "slack"\nurl_env = "BRANDHOUSE_SECRET_CASA_PAGER"'
    )
    entries = {entry.name: entry for entry in world.tell(red(), red("gone"), red("skew"))}
    assert entries["drift.size"].state == "muted"
    assert (entries["skew"].state, entries["skew"].facts["routes"]) == ("sent", ["log"])
    assert entries["gone"].facts["routes"] == ["log", "pager"]
    assert entries["gone"].state == "failed", "the pager's variable is not set"
    assert entries["gone"].facts["delivered"] == ["log"]
    assert "BRANDHOUSE_SECRET_CASA_PAGER" in entries["gone"].facts["undelivered"]["pager"]


def test_failed_delivery_is_tried_again_and_given_up_after_a_week(make_world: MakeWorld) -> None:
    world = make_world('route = "team"\n[alerts.routes.team]\nkind = "slack"\nurl_env = "BRANDHOUSE_SECRET_CASA_TEAM"')
    assert world.states(red()) == ["failed"]
    assert [world.states(after=DAY) for _ in range(7)] == [["failed"]] * 6 + [["given up"]]
    assert world.states(after=DAY) == []
    (last,) = world.ledger.newest_entries(EntryKind.ALERT)
    assert last.facts["attempts"] == 8


def test_message_planned_by_a_process_that_died_is_sent_by_the_next(make_world: MakeWorld) -> None:
    from brandhouse_aftercare.alert_planning import plan

    world = make_world()
    (planned,) = world.ledger.record_decided(
        EntryKind.ALERT, "casa", NOON - DAY, lambda known: plan(world.brand, known, [red()], NOON, actor="tester", run_id=None)
    )
    assert world.states(after=timedelta(minutes=1)) == [], "it may be on its way in another process"
    (sent,) = world.tell(after=timedelta(minutes=1))
    assert (sent.state, sent.facts["message"]) == ("sent", planned.facts["message"])


def test_brands_do_not_see_each_others_alerts(make_world: MakeWorld) -> None:
    casa, villa = make_world("weekly_budget = 1"), make_world("weekly_budget = 1", name="villa")
    assert casa.states(red()) == ["sent"]
    assert villa.states(red()) == ["sent"], "neither casa's budget nor its window counts"
    assert villa.states(green(), after=HOUR) == ["sent"]
    assert casa.states(after=HOUR) == []


@pytest.mark.parametrize(
    ("declared", "moment", "expected"),
    [
        ({"start": "22:00", "end": "07:00", "days": ["fri"]}, "2026-03-06T23:00", True),
        ({"start": "22:00", "end": "07:00", "days": ["fri"]}, "2026-03-07T06:59", True),  # Saturday morning belongs to Friday
        ({"start": "22:00", "end": "07:00", "days": ["fri"]}, "2026-03-07T07:00", False),
        ({"start": "22:00", "end": "07:00", "days": ["fri"]}, "2026-03-06T06:00", False),
        ({"start": "09:00", "end": "17:00"}, "2026-03-06T12:00", True),
        ({"start": "09:00", "end": "17:00"}, "2026-03-06T17:00", False),
        ({"days": ["sat", "sun"]}, "2026-03-07T00:00", True),
        ({"days": ["sat", "sun"]}, "2026-03-08T23:59", True),
        ({"days": ["sat", "sun"]}, "2026-03-09T00:00", False),
        ({"start": "12:30", "end": "13:30"}, "2026-03-28T11:45", True),  # winter: an hour before UTC
        ({"start": "12:30", "end": "13:30"}, "2026-03-29T11:45", False),  # summer: two
    ],
)
def test_silence_holds_by_the_clock_of_its_zone(declared: dict[str, Any], moment: str, expected: bool) -> None:
    zone = UTC if "2026-03-2" in moment else ZoneInfo("Europe/Amsterdam")
    assert holds(Silence.model_validate(declared), datetime.fromisoformat(moment).replace(tzinfo=zone)) is expected


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('route = "team"', "unknown route 'team'; known: log"),
        ('[alerts.checks.drift]\nroute = "team"', "checks.drift.route: unknown route"),
        ('[alerts.routes.team]\nkind = "slack"\nurl_env = "BRANDHOUSE_SECRET_VILLA_TEAM"', "not the brand's own"),
        ('[alerts.routes.team]\nkind = "slack"\nurl_env = "https://hooks.example/secret"', "no variable of a brand"),
        ('[alerts.routes.team]\nkind = "webhook"\nurl_env = "BRANDHOUSE_SECRET_CASA_TEAM"\nheader = "A"', "belong together"),
        ('[alerts.silences.night]\ntimezone = "Mars/North"', "no time zone"),
        ('[alerts.silences.night]\nstart = "25:00"', "start"),
    ],
)
def test_faults_of_a_declaration_are_found_when_it_is_read(make_world: MakeWorld, declared: str, said: str) -> None:
    with pytest.raises(BrandConfigError, match=re.escape(said)):
        make_world(declared)


def test_of_processes_that_find_the_same_at_once_one_tells(make_world: MakeWorld) -> None:
    world = make_world()
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: world.states(red()), range(6)))
    assert sorted(map(tuple, results)) == [("grouped",)] * 5 + [("sent",)]
