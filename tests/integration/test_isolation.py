"""The denial matrix: tight on the gateway as it is, red as soon as something is open, missing or could not be tried."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from serving_house import House

from brandhouse_console.isolation_matrix import BAD, Matrix, all_probes, stale_probes, try_all
from brandhouse_console.isolation_probes import CALL_PROBES
from brandhouse_console.isolation_report import render_html
from brandhouse_console.isolation_surfaces import build_lane, home_entries, served_calls
from brandhouse_console.isolation_timing import BOUND, bound_of, effect_size
from brandhouse_console.isolation_world import running_world, scratch_world
from brandhouse_shared.brands import discover_brands

pytestmark = pytest.mark.alone

COMMAND = Path(sys.executable).with_name("brandhouse")
NO_CHECK = (
    "import brandhouse_serving.brand_calls as calls; calls.permit = lambda *_: None; from brandhouse_serving.main import main; main()"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    house.register_casa(2.0)
    house.register_stil()
    return house


def places(house: House) -> dict[str, str]:
    named = {"BRANDHOUSE_ROOT": str(house.root), "BRANDHOUSE_HOME": str(house.home), "BRANDHOUSE_LEDGER_URL": house.url}
    return {**os.environ, **named}


@contextmanager
def gateway_without_a_check(house: House) -> Iterator[str]:
    """A gateway whose listing and feedback ask nobody whose brand it is."""
    command = [sys.executable, "-c", NO_CHECK, "--port", "0"]
    with subprocess.Popen(command, env=places(house), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None and select.select([process.stdout], [], [], 60)[0]
            yield process.stdout.readline().split(" on ")[1].split()[0]
        finally:
            process.terminate()


def outcomes(matrix: Matrix, surface: str) -> set[str]:
    return {cell.outcome for cell in matrix.cells if cell.surface == surface}


def test_every_brand_is_denied_every_other_on_every_surface(house: House) -> None:
    keys_before = house.ledger.keys_seq()
    brands, _ = discover_brands(house.settings.brands_dir)
    with scratch_world(house.settings, brands) as world:
        # Few rounds: that timing is even is measured by the command, on a machine that does nothing else.
        matrix = try_all(world, build_lane(world.settings), datetime.now(UTC), "a test", lambda _: None, rounds=20)
    bad = [cell for cell in matrix.cells if cell.outcome in BAD and cell.surface != "timing of 403"]
    assert not bad, bad
    assert {cell.surface for cell in matrix.cells} >= {*CALL_PROBES, "model store", "silo process: environment", "score: input and output"}
    assert outcomes(matrix, "silo process: environment") == {"denied", "absent"}, "stil has a process of its own, casa has none"
    assert outcomes(matrix, "silo process: files") == {"known", "absent"}, "written down in docs/isolation.md as not built"
    assert outcomes(matrix, "timing of 403") <= {"denied", "allowed"}
    assert len(matrix.timings) == 6 and all(0 <= timing.effect <= 0.5 for timing in matrix.timings)
    assert house.ledger.keys_seq() == keys_before, "the ledger got no key"
    assert not (house.home / "predictions").exists(), "the prediction log got no answer"
    page = render_html(matrix)
    assert page.count("<details>") == len(matrix.surfaces) and "casa" in page and "stil" in page


def test_a_call_without_its_brand_check_is_red_and_the_exit_status_says_so(house: House, tmp_path: Path) -> None:
    with gateway_without_a_check(house) as url:
        command = [str(COMMAND), "isolation", "--url", url, "--json", "--rounds", "9", "--html", str(tmp_path / "report.html")]
        done = subprocess.run(command, env=places(house), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    found = document["surfaces"]
    assert not document["tight"]
    assert found["GET /v1/{brand}/models"] == {"allowed": 2}
    assert found["POST /v1/{brand}/{model}/feedback"] == {"allowed": 2}
    assert found["lane /v1/"] == {"denied": 2} and found["GET /v2/models/{name}"] == {"denied": 2}, "only the open calls are red"
    assert found["silo process: environment"] == {"not tried": 2}, "what cannot be tried is no pass"
    assert 'class="allowed"' in (tmp_path / "report.html").read_text()
    assert all(key.revoked_at is not None for key in house.ledger.keys(brand=None) if key.actor == "brandhouse isolation")


def test_a_brand_that_cannot_be_asked_has_not_been_tried(house: House) -> None:
    folder = house.root / "brands" / "leeg"
    folder.mkdir()
    toml = (house.root / "brands" / "casa" / "brand.toml").read_text()
    (folder / "brand.toml").write_text(toml.replace('"casa"', '"leeg"').replace("brand_casa", "brand_leeg"))
    try:
        brands, errors = discover_brands(house.settings.brands_dir)
        assert not errors
        with running_world(house.settings, brands, "http://127.0.0.1:1") as world:
            matrix = try_all(world, build_lane(house.settings), datetime.now(UTC), "nothing", lambda _: None, rounds=1)
    finally:
        (folder / "brand.toml").unlink()
        folder.rmdir()
    assert not matrix.is_tight
    assert outcomes(matrix, "lane /v1/") == {"not tried"}, "nobody answers there"
    details = {cell.detail for cell in matrix.cells if cell.surface == "model store" and "leeg" in (cell.attacker, cell.victim)}
    assert details == {"leeg has no version in production that can be read"}


def test_every_call_has_a_probe_and_every_probe_a_call(house: House) -> None:
    calls = served_calls(build_lane(house.settings))
    missing = [call for call, probe in all_probes(calls, []).items() if probe is None]
    assert not missing, f"write a probe in isolation_probes.py for {missing}"
    assert not stale_probes(calls)


def test_a_new_route_a_new_mount_and_a_new_folder_are_surfaces_without_a_probe(house: House, tmp_path: Path) -> None:
    async def tell_secrets() -> dict[str, str]:
        return {}

    lane = build_lane(house.settings)
    lane.inner.add_api_route("/v1/{brand}/secrets", tell_secrets)
    lane.inner.mount("/extra", lane)
    (tmp_path / "novelties").mkdir()
    (tmp_path / "ledger.db-wal").touch()
    probes = all_probes(served_calls(lane), home_entries(tmp_path))
    assert [name for name, probe in probes.items() if probe is None] == ["GET /v1/{brand}/secrets", "Mount /extra", "home: novelties/"]


def test_the_effect_size_tells_what_is_slower_from_what_is_not() -> None:
    even = [float(index % 7) for index in range(500)]
    assert effect_size(even, even[3:] + even[:3]) < 0.01
    assert effect_size(even, [value + 1 for value in even]) > BOUND
    assert effect_size([1.0] * 9, [2.0] * 9) == 0.5
    assert bound_of(500) == BOUND and bound_of(20) > 4 * BOUND, "few rounds cannot tell a small difference from chance"
