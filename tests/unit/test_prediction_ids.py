"""Ids tell who answered and when, and cannot be guessed."""

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
