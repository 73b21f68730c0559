"""Canary and shadow: who answers which request, what a failure of a canary costs, what is counted, and when one is stopped."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from routing_house import CASA, STIL, House

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.metrics import Metrics
from brandhouse_serving.replies import Reply
from brandhouse_serving.trial_answering import TrialAnswerer
from brandhouse_serving.trial_evidence import LEAST_SLOW_MS, TIMED_CANARY, TIMED_PRODUCTION, Evidence, Trial, TrialRules
from brandhouse_serving.trial_files import TrialFiles
from brandhouse_serving.trial_keeping import TrialKeeper
from brandhouse_serving.trial_keys import BITS, FULL, HASHES, KeyHasher, KeySet, SeenKeys, bound_of, count_keys
from brandhouse_serving.trial_reports import TrialReport, build_report, build_reports
from brandhouse_serving.trial_times import Times, quantile_ms
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.stages import Stage

RULES = TrialRules(max_disagreement_share=0.3, tolerance=None, tolerance_share=0.1, budget_ms=None)
CANARY_TRIAL = Trial(CASA.version(2), Stage.CANARY, 0.1, 1, 5, RULES)


class TrialHouse(House):
    """A house whose requests go the way that the lane sends them."""

    def __init__(self, brands: Path) -> None:
        super().__init__(brands)
        self.trials = TrialAnswerer(self.answerer)
        self.home = brands.parent / "home"
        self.keeper = TrialKeeper(self.home, cast(Ledger, self.ledger), self.router.trials, Metrics())

    async def send(self, key: bytes, **row: Any) -> Reply:
        route = self.router.table[CASA]
        rows = [row or {"area": 1}]
        reply = await self.trials.answer(route, rows, key) if route.trial is not None else await self.answerer.answer(route, rows)
        self.trials.note(route, key, reply, rows, ["id-" + key.decode()])
        await self.answerer.settle()
        return reply

    async def send_many(self, count: int) -> list[Reply]:
        return [await self.send(b"key %d" % number) for number in range(count)]

    def report(self, number: int = 2) -> TrialReport:
        return build_reports(TrialFiles(self.home).read(CASA.version(number)))[0]

    async def kept(self, number: int = 2) -> TrialReport:
        await self.keeper.keep()
        return self.report(number)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[TrialHouse], Awaitable[None]]], None]:
    (tmp_path / "brands").mkdir()

    def run(scene: Callable[[TrialHouse], Awaitable[None]]) -> None:
        async def act() -> None:
            house = TrialHouse(tmp_path / "brands")
            try:
                await scene(house)
            finally:
                await house.trials.close()

        asyncio.run(act())

    return run


async def begin(house: TrialHouse, stage: Stage, share: float | None = None) -> None:
    """Version 1 in production, version 2 on trial."""
    house.ledger.promote(1)
    house.ledger.put_on_trial(2, stage, share)
    await house.look()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


# Choosing


def test_a_key_goes_the_same_way_in_every_process_and_release() -> None:
    assert KeyHasher(CASA.version(2)).hash(b"client 17") == 4229961008594309364
    assert KeyHasher(CASA.version(3)).hash(b"client 17") != KeyHasher(CASA.version(2)).hash(b"client 17")
    assert KeyHasher(STIL.version(2)).hash(b"client 17") != KeyHasher(CASA.version(2)).hash(b"client 17")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_a_canary_gets_its_share_of_the_keys_and_keeps_them_when_it_grows(share: float) -> None:
    hashes = [KeyHasher(CASA.version(2)).hash(b"%d" % number) for number in range(20_000)]
    taken = {key for key in hashes if key < bound_of(share)}
    assert abs(len(taken) / 20_000 - share) < 0.012
    assert taken <= {key for key in hashes if key < bound_of(min(1.0, share * 1.5))}
    assert max(hashes) < HASHES


def test_requests_are_divided_by_their_key_and_stay_so(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.3)
        first, second = await house.send_many(300), await house.send_many(300)
        versions = [reply.loaded.key.number for reply in first]
        assert 60 < versions.count(2) < 120
        assert versions == [reply.loaded.key.number for reply in second]
        assert {(reply.loaded.key.number, reply.served_by, reply.reason) for reply in first} == {(1, "production", ""), (2, "canary", "")}

    play(scene)


def test_a_model_without_canary_and_shadow_has_nothing_to_look_at(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        house.ledger.promote(1, STIL)
        await begin(house, Stage.CANARY, 0.3)
        assert house.router.table[STIL].trial is None
        assert house.router.table[CASA].trial is not None
        house.ledger.end_trial(2)
        await house.look()
        assert house.router.table[CASA].trial is None

    play(scene)


def test_a_canary_gets_no_request_before_it_is_loaded_and_none_if_it_cannot_be(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.send(b"load production")
        house.loader.gate.clear()
        house.ledger.put_on_trial(2, Stage.CANARY, 0.99)
        await house.router.refresh()
        assert {reply.loaded.key.number for reply in await house.send_many(20)} == {1}
        house.loader.gate.set()
        await house.router.settle()
        assert {reply.loaded.key.number for reply in await house.send_many(20)} == {2}
        house.loader.broken = {3}
        house.ledger.end_trial(2)
        house.ledger.put_on_trial(3, Stage.CANARY, 0.99)
        await house.look()
        assert {reply.loaded.key.number for reply in await house.send_many(20)} == {1}
        assert (await house.kept(3)).verdict == "not loaded: artifact missing or altered"

    play(scene)


def test_a_canary_that_is_promoted_or_shadowed_is_not_loaded_again(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.SHADOW)
        await house.send(b"x")
        house.ledger.put_on_trial(2, Stage.CANARY, 0.5)
        await house.look()
        house.ledger.promote(2)
        await house.look()
        reply = await house.send(b"x")
        assert (reply.loaded.key.number, reply.served_by) == (2, "production")
        assert sorted(house.loader.loads) == [1, 2]

    play(scene)


def test_a_canary_without_a_share_gets_no_request(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, None)
        assert house.router.table[CASA].trial is None

    play(scene)


def test_a_one_off_answer_loads_no_version_on_trial(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        house.ledger.promote(1)
        house.ledger.put_on_trial(2, Stage.CANARY, 0.99)
        await house.router.refresh(with_trials=False)
        await house.router.settle()
        assert (await house.send(b"x")).loaded.key.number == 1
        assert house.loader.loads == [1]

    play(scene)


# A canary fails


def test_a_failing_canary_is_answered_by_production_counted_and_recorded(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.5)
        house.loader.mute = {2}
        replies = await house.send_many(40)
        assert {reply.loaded.key.number for reply in replies} == {1}
        failed = [reply for reply in replies if reply.reason]
        assert {(reply.served_by, reply.reason) for reply in failed} == {("production", "runtime failed")}
        assert house.ledger.fallbacks == [(CASA, 2, "runtime failed")]
        report = await house.kept()
        assert (report.canary.failures, report.canary.answers, report.canary.failed_keys) == (len(failed), 0, len(failed))
        assert (report.beside.answers, report.beside.failures) == (40 - len(failed), 0)

    play(scene)


def test_a_bad_request_is_the_clients_fault_and_a_canary_of_another_schema_pays_for_good_ones(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        house.loader.fields = {2: "other"}
        await begin(house, Stage.CANARY, 0.99)
        with pytest.raises(ContractViolationError, match="area: a text given"):
            await house.send(b"x", area="x")
        assert house.ledger.fallbacks == [], "nobody answered instead"
        reply = await house.send(b"x")
        assert (reply.loaded.key.number, reply.reason) == (1, "refused the input")
        assert (await house.kept()).canary.failures == 1

    play(scene)


def test_what_production_cannot_answer_either_is_not_counted_against_the_canary(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.5)
        house.loader.mute = {1, 2}
        replies = await house.send_many(40)
        assert {reply.served_by for reply in replies} == {"baseline"}
        report = await house.kept()
        assert report.canary.failures == 0 < report.beside.failures

    play(scene)


def test_a_version_that_is_asked_for_by_number_is_no_evidence(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.1)
        route = house.router.table[CASA]
        assert route.trial is not None and route.trial.canary is not None
        slot = route.trial.canary.slot
        assert (await house.trials.answer_from(slot, route, [{"area": 1}])).served_by == "canary"
        house.loader.mute = {2}
        reply = await house.trials.answer_from(slot, route, [{"area": 1}])
        assert (reply.loaded.key.number, reply.served_by, reply.reason) == (1, "production", "runtime failed")
        assert (await house.trials.answer_from(route.production, route, [{"area": 1}])).reason == ""
        report = await house.kept()
        assert report.canary.failures == report.canary.answers == 0

    play(scene)


# Comparing


def test_a_shadow_is_asked_and_never_answers(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.SHADOW)
        replies = await house.send_many(30)
        assert {(reply.loaded.key.number, reply.served_by) for reply in replies} == {(1, "production")}
        await house.send_many(30)
        (evidence,) = house.router.trials.present()
        await until(lambda: sum(evidence.outcomes().values()) == 60)
        compared = (await house.kept()).compared
        assert (compared.requests, compared.rows, compared.differing, compared.share) == (30, 30, 30, 1.0)
        assert compared.uncompared == {"the same request again": 30}
        assert (compared.mean_difference, compared.max_difference) == (1.0, 1.0)
        assert set(compared.examples) <= {f"id-key {number}" for number in range(30)}
        assert house.report().verdict == "harm: disagrees with production in 100 % of 30 rows, more than 30 %"

    play(scene)


def test_a_shadow_that_fails_fails_for_nobody_and_its_failures_are_counted(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.SHADOW)
        house.loader.mute = {2}
        assert {reply.reason for reply in await house.send_many(5)} == {""}
        (evidence,) = house.router.trials.present()
        await until(lambda: evidence.outcomes()["failed"] == 5)
        assert (await house.kept()).compared.uncompared == {"runtime failed": 5}
        assert house.ledger.fallbacks == []

    play(scene)


def test_a_canarys_answers_are_compared_with_productions_by_the_brands_tolerance(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        file = house.brands / "casa" / "brand.toml"
        file.write_text(file.read_text() + "\n[models.price.trial]\ntolerance = 1.0\n")
        await begin(house, Stage.CANARY, 0.99)
        await house.send_many(10)
        (evidence,) = house.router.trials.present()
        await until(lambda: evidence.document("w")["compared"]["requests"] == 10)
        compared = (await house.kept()).compared
        assert (compared.rows, compared.differing, compared.max_difference) == (10, 0, 1.0)

    play(scene)


# Evidence


def test_a_key_counts_once_however_often_it_fails_and_in_however_many_processes() -> None:
    first, second = KeySet(), KeySet()
    for _ in range(100):
        first.add(4711, is_canary=True)
        second.add(4711, is_canary=True)
    second.add(4712, is_canary=False)
    counts = count_keys([first.document(), second.document()])
    assert (counts.canary, counts.production) == (1, 1)


def test_a_place_of_both_sides_counts_for_production() -> None:
    keys = KeySet()
    keys.add(5, is_canary=True)
    keys.add(5 + BITS, is_canary=False)
    counts = count_keys([keys.document()])
    assert (counts.canary, counts.production) == (0, 1)


def test_a_full_set_of_keys_becomes_a_count_and_begins_anew() -> None:
    keys = KeySet()
    for key in range(FULL + 10):
        keys.add(key, is_canary=key % 4 == 0)
    counts = count_keys([keys.document()])
    assert (counts.canary, counts.production) == (FULL // 4 + 3, FULL // 4 * 3 + 7)


def test_seen_keys_are_forgotten_only_when_there_are_too_many() -> None:
    seen = SeenKeys(bits=64)
    assert seen.is_new(3)
    assert not seen.is_new(3)
    assert all(seen.is_new(key) for key in range(10, 45) if key != 3)
    assert seen.is_new(3)


def test_quantiles_are_right_within_a_fifth() -> None:
    times = Times()
    for milliseconds in range(1, 1001):
        times.add(float(milliseconds))
    assert 500 <= (quantile_ms(times.counts, 0.5) or 0) <= 600
    assert 990 <= (quantile_ms(times.counts, 0.99) or 0) <= 1200
    assert quantile_ms(Times().counts, 0.5) is None
    times.add(1e12)
    times.add(0.0)
    assert sum(times.counts) == 1002


def seen_by(worker: str, canary_failures: range, trial: Trial = CANARY_TRIAL, slow: int = 0) -> dict[str, Any]:
    evidence = Evidence(trial)
    for key in range(TIMED_PRODUCTION + 100):
        evidence.note_production(1_000_000 + key, 1.0, 1, failed=False)
    for key in range(TIMED_CANARY):
        evidence.note_canary(2_000_000 + key, 1.0, 1)
    for key in range(slow):
        evidence.note_canary(4_000_000 + key, LEAST_SLOW_MS + 1, 1)
    evidence.note_production(3_000_000, 1.0, 1, failed=False)
    for key in canary_failures:
        evidence.note_canary_failure(key, "timeout")
    return evidence.document(worker)


def test_evidence_of_processes_adds_up_to_what_one_alone_would_not_say() -> None:
    one, two = seen_by("a", range(2)), seen_by("b", range(2, 4))
    assert not build_report([one]).is_harmful
    report = build_report([one, two])
    assert report.is_harmful
    assert report.verdict == "harm: fails more often than production (4 of 44 against 0 of 602 requests, 4 against 0 keys)"
    assert report.workers == 2
    assert not build_report([one, one]).is_harmful, "the same keys again say nothing more"


def test_slow_answers_of_a_canary_are_found() -> None:
    report = build_report([seen_by("a", range(0), slow=8)])
    assert report.harm == ["is slow more often than production (100 % against 0 % of answers)"]
    assert report.slow_ms == LEAST_SLOW_MS


def test_with_a_latency_budget_an_answer_may_take_it_per_row() -> None:
    rules = TrialRules(max_disagreement_share=0.3, tolerance=None, tolerance_share=0.1, budget_ms=10.0)
    evidence = Evidence(Trial(CASA.version(2), Stage.CANARY, 0.1, 1, 5, rules))
    for key in range(TIMED_CANARY):
        evidence.note_canary(key, 500.0, 1)
    evidence.note_canary(101, 50.0, 10)
    evidence.note_canary(102, 50.0, 1)
    report = build_report([evidence.document("a")])
    assert (report.canary.slow_keys, report.canary.slow_share, report.slow_ms) == (1, 0.5, 10.0)


def test_a_trial_with_other_rules_share_or_production_is_another_one() -> None:
    other = Trial(CASA.version(2), Stage.CANARY, 0.2, 1, 9, RULES)
    reports = build_reports([seen_by("a", range(2)), seen_by("b", range(2, 4), other)])
    assert [(report.since, report.canary.failures) for report in reports] == [(9, 2), (5, 2)]


def test_files_outlive_their_process_and_a_torn_one_counts_for_nothing(tmp_path: Path) -> None:
    files = TrialFiles(tmp_path)
    files.write(seen_by("killed", range(2)))
    files.write(seen_by("living", range(2, 3)))
    assert build_report(files.read(CASA.version(2), since=5)).canary.failures == 3
    folder = tmp_path / "trials" / "casa" / "price" / "v2"
    assert sorted(path.name for path in folder.iterdir()) == ["5-killed.json", "5-living.json"]
    (folder / "5-torn.json").write_text(json.dumps(seen_by("torn", range(5)))[:500])
    files.write(seen_by("living", range(2, 4)))
    assert build_report(files.read(CASA.version(2))).canary.failures == 4, "what has changed is read again"
    assert files.read(STIL.version(2)) == []
    assert files.versions(CASA) == [CASA.version(2)]


def test_verdicts_say_how_much_is_missing() -> None:
    assert build_report([seen_by("a", range(0))]).verdict == "not enough: 20 of about 80 requests"
    assert build_report([seen_by("a", range(0)) for _ in range(4)]).verdict == "no harm seen"


# Stopping


class StoppingLedger:
    """Takes a stop once, as the real one does."""

    def __init__(self) -> None:
        self.stops: list[tuple[Any, ...]] = []

    def stop_canary(self, version: Any, since: int, actor: str, reason: str) -> Any:
        if self.stops:
            return None
        self.stops.append((version, since, actor, reason))
        return type("Event", (), {"reason": reason})


def test_a_harmful_canary_is_stopped_once_although_all_processes_see_it(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.5)
        house.loader.mute = {2}
        ledger, metrics = StoppingLedger(), [Metrics(), Metrics()]
        keepers = [TrialKeeper(house.home, cast(Ledger, ledger), house.router.trials, one) for one in metrics]
        await house.send_many(10)
        await keepers[0].keep()
        assert ledger.stops == []
        await house.send_many(60)
        for keeper in keepers:
            await keeper.keep()
        ((version, since, actor, reason),) = ledger.stops
        assert (version, since, actor) == (CASA.version(2), 2, "gateway")
        assert reason.startswith("stopped itself: fails more often than production (")
        assert reason.endswith("where 300 to 1 stop; a harmless canary is stopped with a probability of 1 % at most")
        stops = [one.count("brandhouse_canary_stops", "casa", "price", "v2", "errors").value for one in metrics]
        assert stops == [1, 0]

    play(scene)


def test_a_ledger_that_is_away_does_not_end_the_keeping_of_trials(play: Any, caplog: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.5)
        house.loader.mute = {2}

        class Away(StoppingLedger):
            def stop_canary(self, version: Any, since: int, actor: str, reason: str) -> Any:
                raise VersionFailedError("ledger", "away")

        keeper = TrialKeeper(house.home, cast(Ledger, Away()), house.router.trials, Metrics())
        await house.send_many(80)
        await keeper.keep()
        assert "trials cannot be kept: VersionFailedError: ledger: away" in caplog.text
        assert house.report().is_harmful

    play(scene)


def test_metrics_count_what_became_of_canary_and_shadow_once(play: Any) -> None:
    async def scene(house: TrialHouse) -> None:
        await begin(house, Stage.CANARY, 0.5)
        metrics = Metrics()
        keeper = TrialKeeper(house.home, cast(Ledger, StoppingLedger()), house.router.trials, metrics)
        for _ in range(2):
            await house.send_many(20)
            await keeper.keep()
        await keeper.keep()
        (evidence,) = house.router.trials.present()
        counted = metrics.count("brandhouse_canary_answers", "casa", "price", "v2", "answered").value
        assert counted == evidence.outcomes()["answered"] > 0

    play(scene)
