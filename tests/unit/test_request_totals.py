"""Requests that gateways got, over all gateways of a home and their ends."""

from pathlib import Path

from brandhouse_serving.metrics import Metrics
from brandhouse_serving.request_totals import Totals, add_totals, claim, keep_totals, read_totals
from brandhouse_serving.worker_place import gateway_folder, running_gateways
from brandhouse_shared.names import ModelKey

DUIN, HEI = ModelKey("duin", "price"), ModelKey("hei", "price")


def count(folder: Path, answered: int, refused: int) -> None:
    metrics = Metrics(folder)
    for _ in range(answered):
        metrics.count_answer("duin", "price", 1, rows=7, seconds=0.01)
    for _ in range(refused):
        metrics.count_error("duin", "price", "invalid_input")
    metrics.count_error("duin", "price", "too_many_requests")
    metrics.count_error("", "", "invalid_input")
    metrics.close()


def of_duin(home: Path) -> tuple[int, int]:
    totals = read_totals(home, running_gateways(home))[DUIN]
    return totals.answered, totals.refused


def test_what_gateways_counted_stays_after_their_end(tmp_path: Path) -> None:
    for number in (1, 2):
        with gateway_folder(tmp_path) as folder:
            count(folder, answered=3, refused=2)
            assert of_duin(tmp_path) == (3 * number, 2 * number), "a running one counts, too"
        assert of_duin(tmp_path) == (3 * number, 2 * number)


def test_a_gateway_of_another_home_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with gateway_folder(tmp_path / "a") as folder:
        count(folder, answered=1, refused=1)
        assert read_totals(tmp_path / "b", running_gateways(tmp_path / "b")) == {}


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    add_totals(tmp_path, {DUIN: Totals(5, 1), HEI: Totals(1, 0)})
    with (tmp_path / "gateways" / "ended.jsonl").open("ab") as file:
        file.write(b'{"at": 1, "models": {"duin/price": [1')
    assert of_duin(tmp_path) == (5, 1)


def test_a_folder_that_is_gone_or_that_nobody_claimed_is_no_gateway(tmp_path: Path) -> None:
    (tmp_path / "nobodys").mkdir()
    assert read_totals(tmp_path, [tmp_path / "nobodys", tmp_path / "gone"]) == {}
    claim(tmp_path / "nobodys", tmp_path)
    keep_totals(tmp_path / "nobodys", tmp_path)
    assert not (tmp_path / "gateways").exists(), "nothing was counted, nothing is written"
