"""Ids tell who answered and when, and cannot be guessed."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from brandhouse_serving import prediction_ids
from brandhouse_shared.errors import InvalidNameError
from brandhouse_shared.names import ModelKey, VersionKey

CASA = VersionKey("casa", "price", 7)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, UTC)


def test_an_id_tells_brand_model_version_and_time() -> None:
    parsed = prediction_ids.parse(prediction_ids.make(CASA, NOON))
    assert (parsed.version, parsed.at) == (CASA, NOON)


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, 23, 59, 59, 999_000, UTC)])
def test_the_time_survives_far_dates(at: datetime) -> None:
    assert abs(prediction_ids.parse(prediction_ids.make(CASA, at)).at - at) < timedelta(milliseconds=1)


def test_ids_stand_in_a_url_as_they_are_and_start_alike_but_never_repeat() -> None:
    ids = prediction_ids.make_many(CASA, 1_770_000_000_000, 10_000)
    assert len(set(ids)) == 10_000
    assert all(quote(one, safe="") == one for one in ids)
    assert {one.rsplit(".", 1)[0] for one in ids} == {"casa.price.v7.19c1c38a400"}
    randoms = [one.rsplit(".", 1)[1] for one in ids]
    assert {len(one) for one in randoms} == {16}, "16 digits of base64 are 96 bits"
    assert len({one[:8] for one in randoms}) > 9_990 and len({one[8:] for one in randoms}) > 9_990


def test_names_that_need_care_survive() -> None:
    key = ModelKey("a_", "x" * 40).version(123_456_789)
    assert prediction_ids.parse(prediction_ids.make(key, NOON)).version == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "casa.price.v7",
        "casa.price.7.019c1d38f400.AAAAAAAAAAAAAAAA",
        "casa.price.v0.19c1d38f400.AAAAAAAAAAAAAAAA",
        "casa.price.v7.19C1D38F400.AAAAAAAAAAAAAAAA",
        "casa.price.v7.19c1d38f400.AAAAAAAAAAAAAAA",
        "casa.price.v7.19c1d38f400.AAAAAAAAAAAAAAA/",
        "casa.price.v7.19c1d38f400.AAAAAAAAAAAAAAAA\n",
        "../price.v7.19c1d38f400.AAAAAAAAAAAAAAAA",
        "casa..v7.19c1d38f400.AAAAAAAAAAAAAAAA",
        "x" * 100_000,
    ],
)
def test_what_is_no_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidNameError, match="is no prediction id; allowed: an id as returned in prediction_ids"):
        prediction_ids.parse(text)


FORKED = """
import os, sys
from brandhouse_serving import prediction_ids
from brandhouse_shared.names import VersionKey

def draw():
    return [prediction_ids.make_many(VersionKey("casa", "price", 7), 0, 1)[0] for _ in range(20)]

draw()
child = os.fork()
sys.stdout.write("\\n".join(draw()) + "\\n")
sys.stdout.flush()
if child:
    os.waitpid(child, 0)
"""


def test_ids_of_single_rows_never_repeat_also_over_the_store_of_random_digits() -> None:
    ids = [prediction_ids.make_many(CASA, 0, 1)[0] for _ in range(5 * prediction_ids.DRAWN_AT_ONCE)]
    assert len(set(ids)) == len(ids) and all(prediction_ids.parse(one).version == CASA for one in ids)


def test_a_forked_process_draws_ids_of_its_own() -> None:
    ids = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True).stdout.split()
    assert len(ids) == len(set(ids)) == 40
