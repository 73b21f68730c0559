"""Shadow, canary, production and rollback on a real gateway while requests keep coming, and a canary that stops itself."""

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from paced_load import PacedLoad
from serving_house import CASA, CASA_ROW, STIL, STIL_CODE, STIL_ROW, Gateway, House, wait_until

from brandhouse_serving.trial_files import TrialFiles
from brandhouse_serving.trial_listing import ListedTrial, list_trials
from brandhouse_serving.trial_reports import TrialReport
from brandhouse_shared.ledger.records import StageChange
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey

pytestmark = pytest.mark.alone

PER_SECOND = 1_000

logger = logging.getLogger(__name__)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def put(house: House, version: VersionKey, to: Stage, share: float | None = None) -> None:
    house.ledger.change_stage(StageChange(version=version, to=to, actor="tester", reason="test", share=share))


def running(house: House) -> ListedTrial:
    (found,) = list_trials(house.ledger, house.home, CASA, only_running=True)
    return found


def report_of(house: House) -> TrialReport:
    wait_until(lambda: running(house).report is not None)
    report = running(house).report
    assert report is not None
    return report


def is_answered_by(load: PacedLoad, version: VersionKey) -> Callable[[], bool]:
    """Whether one of the newest answers is of a version."""
    return lambda: str(version) in {answer.version for answer in load.answers[-20:]}


def test_stages_change_under_load_without_a_failed_request(house: House) -> None:
    first, second = house.register_casa(2.0), house.register_casa(2.1, promote=False)
    key = house.add_key("casa")
    followed: dict[str, float] = {}
    with Gateway(house) as gateway, PacedLoad(gateway.port, key, CASA, PER_SECOND, CASA_ROW) as load:
        wait_until(lambda: len(load.answers) > 500)
        put(house, second, Stage.SHADOW)
        followed["shadow"] = wait_until(lambda: report_of(house).compared.requests > 0)
        assert {answer.version for answer in load.answers} == {str(first)}, "a shadow answers nobody"
        put(house, second, Stage.CANARY, 0.2)
        followed["canary"] = wait_until(is_answered_by(load, second))
        before = len(load.answers)
        wait_until(lambda: len(load.answers) > before + 1_500)
        share = Counter(answer.version for answer in load.answers[before : before + 1_500])[str(second)] / 1_500
        assert 0.12 < share < 0.28
        wait_until(lambda: report_of(house).verdict == "no harm seen")
        put(house, second, Stage.PRODUCTION)
        followed["production"] = wait_until(lambda: {answer.version for answer in load.answers[-50:]} == {str(second)})
        house.ledger.rollback(CASA, "tester", "test")
        followed["rollback"] = wait_until(lambda: {answer.version for answer in load.answers[-50:]} == {str(first)})
        took = load.answers[-1].at - load.answers[0].at
    assert load.failure == ""
    assert {answer.status for answer in load.answers} == {200}
    assert {answer.fallback for answer in load.answers} == {""}
    logger.info("%.0f requests/s; seconds until followed: %s", len(load.answers) / took, followed)  # shown with -o log_cli_level=INFO


def test_a_failing_canary_stops_itself_in_all_processes_and_no_client_sees_an_error(house: House) -> None:
    first, second = house.register_casa(2.0), house.register_casa(float("nan"), promote=False)
    key = house.add_key("casa")
    with Gateway(house, "--workers", "2") as gateway, PacedLoad(gateway.port, key, CASA, 200, CASA_ROW) as load:
        wait_until(lambda: len(load.answers) > 20)
        put(house, second, Stage.CANARY, 0.3)
        wait_until(lambda: house.ledger.find_version(second).stage is Stage.SHADOW, seconds=20)
        wait_until(lambda: not any(answer.fallback for answer in load.answers[-100:]))
    assert load.failure == ""
    assert {(answer.status, answer.version) for answer in load.answers} == {(200, str(first))}
    assert {answer.fallback for answer in load.answers} == {"", "production; answered a number that is not finite"}
    (stop,) = [event for event in house.ledger.stage_events(CASA) if event.automatic and event.from_stage is not None]
    assert (stop.from_stage, stop.to, stop.actor) == (Stage.CANARY, Stage.SHADOW, "gateway")
    assert stop.reason.startswith("stopped itself: fails more often than production (")
    assert "a harmless canary is stopped with a probability of 1 % at most" in stop.reason
    fallbacks = {(one.number, one.reason) for one in house.ledger.fallbacks(CASA)}
    assert fallbacks == {(second.number, "answered a number that is not finite")}
    ended = [one for one in list_trials(house.ledger, house.home, CASA) if one.ended is not None]
    assert [(one.stage, one.ended) for one in ended] == [(Stage.CANARY, stop)]
    assert ended[0].report is not None and ended[0].report.workers == 2, "both processes saw it"


@pytest.mark.slow
def test_a_shadow_in_a_brands_own_process_is_compared_and_another_brands_trial_does_not_show_in_its_own(house: House) -> None:
    house.register_casa(2.0)
    house.register_stil()
    put(house, house.register_casa(5.0, promote=False), Stage.SHADOW)
    second = house.register_stil(STIL_CODE.replace('"visits": rows["visits"],', '"visits": rows["visits"] - 6,'), promote=False)
    put(house, second, Stage.SHADOW)
    keys = {brand: house.add_key(brand) for brand in ("casa", "stil")}
    with Gateway(house) as gateway:
        wait_until(lambda: len(list_reports(house)) == 2, seconds=30)
        for visits in range(20):
            assert gateway.predict(keys["casa"], CASA, CASA_ROW | {"Area m2": visits})[0] == 200
            assert gateway.predict(keys["stil"], STIL, STIL_ROW | {"visits": visits})[2]["model"] == "stil/taste/v1"
        wait_until(lambda: [report.compared.requests for report in list_reports(house)] == [20, 20], seconds=30)
        shown = gateway.call("GET", "/metrics", keys["stil"])[2].decode()
    assert 'brandhouse_shadow_answers_total{brand="stil",model="taste",version="v2"' in shown and 'brand="casa"' not in shown
    casa, stil = list_reports(house)
    assert casa.compared.pairs == [] and ("yes", "no") in {(production, other) for production, other, _ in stil.compared.pairs}
    assert all(example.startswith("stil.taste.v1.") for example in stil.compared.examples)


def list_reports(house: House) -> list[TrialReport]:
    """Of both brands' trials that go on and of which something is on disk, casa's first."""
    found = [one for key in (CASA, STIL) for one in list_trials(house.ledger, house.home, key, only_running=True)]
    return [one.report for one in found if one.report is not None and not one.report.problem]


def ask_and_kill(house: House, key: str, areas: range) -> None:
    written = len(TrialFiles(house.home).read(CASA.version(2)))
    with Gateway(house) as gateway:
        wait_until(lambda: len(TrialFiles(house.home).read(CASA.version(2))) > written)
        for area in areas:
            assert gateway.predict(key, CASA, CASA_ROW | {"Area m2": area})[0] == 200
        wait_until(lambda: report_of(house).compared.requests == areas.stop - 100)
        gateway.process.kill()


def test_the_command_shows_what_a_killed_gateway_saw_together_with_what_the_next_one_sees(house: House, tmp_path: Path) -> None:
    house.register_casa(2.0)
    put(house, house.register_casa(5.0, promote=False), Stage.SHADOW)
    key = house.add_key("casa")
    ask_and_kill(house, key, range(100, 140))
    ask_and_kill(house, key, range(140, 160))
    assert report_of(house).workers == 2
    environment = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    page = tmp_path / "trials.html"
    command = [str(Path(sys.executable).parent / "brandhouse"), "trial", "casa/price", "--html", str(page)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "casa/price/v2  shadow  v1" in done.stdout
    assert "harm: disagrees with production in 100 % of 60 rows, more than 30 %" in done.stdout
    assert "casa/price/v2: 60 rows of 60 requests compared, 60 differ (allowed: 30 %)" in done.stdout
    html = page.read_text()
    assert "Trials of casa/price" in html and html.count("<svg") == 3 and "<script" not in html
    elsewhere = subprocess.run([*command[:-1], str(house.home / "x.html")], env=environment, capture_output=True, text=True, check=False)
    assert elsewhere.returncode == 1 and "lies in the platform's own state" in elsewhere.stderr
