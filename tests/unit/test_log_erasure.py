"""A person's answers and labels leave the log; all else stays, and who writes to it goes on as before."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from brandhouse_serving import conversion, prediction_ids
from brandhouse_serving.failures import DuplicateLabelError
from brandhouse_serving.feedback import LabelStore
from brandhouse_serving.log_erasure import Sought, erase_hits, find_hits, hashed_values, settle_journals
from brandhouse_serving.prediction_log import Answer, JournaledPredictionLog, LogRule, load_hash_key
from brandhouse_serving.prediction_records import find_record
from brandhouse_serving.prediction_table import BATCH, day_folder, find_parts
from brandhouse_shared.names import ModelKey

KEY = ModelKey("casa", "price")
AT_MS = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp() * 1000)


class Known:
    def find(self, prediction_id: str) -> object:
        return prediction_id


def write(home: Path, people: list[Any], *, is_personal: bool = False) -> list[str]:
    ids = prediction_ids.make_many(KEY.version(1), AT_MS, len(people))
    rule = LogRule(True, () if is_personal else ("who",), ("who",) if is_personal else (), ())
    log = JournaledPredictionLog(home)
    log.append(Answer(KEY.version(1), ids, [{"who": who} for who in people], [1.0] * len(people), None, AT_MS, 0.2, "production", rule))
    log.close()
    return ids


def sought(home: Path, value: str) -> Sought:
    return Sought(frozenset(), {KEY: ("who",)}, {"who": hashed_values(load_hash_key(home, "casa"), "who", value)})


@pytest.mark.parametrize("is_personal", [False, True])
@pytest.mark.parametrize(
    ("value", "people", "theirs"),
    [
        ("k-17", ["k-17", "k-171", "K-17", None, "xk-17"], [0]),
        ("17", [17, 17.0, "17", "017", 170, 1.7], [0, 1, 2]),
        ("017", [17, "017", "17"], [1]),
        ('a "b" é', ['a "b" é', "a b é"], [0]),
    ],
)
def test_a_person_is_known_by_the_whole_value_in_every_form_it_is_kept_in(
    tmp_path: Path, is_personal: bool, value: str, people: list[Any], theirs: list[int]
) -> None:
    ids = write(tmp_path, people, is_personal=is_personal)
    settle_journals(tmp_path, "casa")
    assert find_hits(tmp_path, KEY, sought(tmp_path, value)).ids == {ids[place] for place in theirs}


def test_only_their_rows_go_and_the_keeper_goes_on_where_it_was(tmp_path: Path) -> None:
    ids = write(tmp_path, ["ann", "bob", "ann"])
    settle_journals(tmp_path, "casa")
    (part,) = find_parts(day_folder(tmp_path, KEY, AT_MS))
    before = pq.read_table(part)
    wanted = sought(tmp_path, "ann")
    erase_hits(tmp_path, KEY, find_hits(tmp_path, KEY, wanted), wanted)

    after = pq.read_table(part)
    assert after.schema.metadata[BATCH] == before.schema.metadata[BATCH]
    assert after.to_pylist() == [before.to_pylist()[1]] and part.stat().st_mode & 0o077 == 0
    (more,) = write(tmp_path, ["cem"])
    conversion.convert_all(tmp_path)
    assert find_record(tmp_path, ids[1]) and find_record(tmp_path, more) and not find_record(tmp_path, ids[0])


def test_a_part_of_which_all_rows_go_stays_as_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path, ["ann"])
    settle_journals(tmp_path, "casa")
    wanted = sought(tmp_path, "ann")
    erase_hits(tmp_path, KEY, find_hits(tmp_path, KEY, wanted), wanted)
    (more,) = write(tmp_path, ["cem"])
    conversion.convert_all(tmp_path)
    assert find_record(tmp_path, more) is not None


def test_a_gateway_that_knows_the_labels_goes_on_after_their_file_was_written_anew(tmp_path: Path) -> None:
    ids = write(tmp_path, ["ann", "bob", "cem", "dan"])
    now, store = datetime(2026, 3, 11, tzinfo=UTC), LabelStore(tmp_path, Known())
    for identifier in ids[:3]:
        store.add(KEY, identifier, 1.0, now)
    settle_journals(tmp_path, "casa")
    wanted = sought(tmp_path, "ann")
    hits = find_hits(tmp_path, KEY, wanted)
    assert hits.labels == 1
    erase_hits(tmp_path, KEY, hits, wanted)

    with pytest.raises(DuplicateLabelError):
        store.add(KEY, ids[1], 2.0, now)
    store.add(KEY, ids[3], 3.0, now)
    with pytest.raises(DuplicateLabelError):
        store.add(KEY, ids[3], 3.0, now)


def test_ids_alone_are_enough(tmp_path: Path) -> None:
    ids = write(tmp_path, ["ann", "bob"])
    settle_journals(tmp_path, "casa")
    wanted = Sought(frozenset([ids[1]]))
    erase_hits(tmp_path, KEY, find_hits(tmp_path, KEY, wanted), wanted)
    assert find_record(tmp_path, ids[0]) and not find_record(tmp_path, ids[1])
