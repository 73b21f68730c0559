"""What a person types behind `train --params`, `--estimator` and `--sample`."""

import pytest

from brandhouse_flows.wishes import WishError, Wishes, read_wishes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n=6", 6),
        ("n = -2", -2),
        ("n=0.05", 0.05),
        ("n=1e-3", 0.001),
        ("n=true", True),
        ("n=squared_error", "squared_error"),
        ('n="a, b"', "a, b"),
        ("n='x=y'", "x=y"),
        ("n=1_000", 1000),
    ],
)
def test_params_are_read_as_toml_and_a_bare_word_is_a_text(text: str, value: object) -> None:
    read = read_wishes([text]).params["n"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth", "'depth' is no param; allowed: name=value, such as max_depth=6"),
        ("=3", "is no param"),
        ("depth=", "is no param"),
        ("1x=3", "is no param"),
        ("n=True", "n: True is no TOML value; write true"),
        ("n=None", "'None' is no TOML value"),
        ("n=[1, 2]", "is no single value; allowed: a number, true, false or a text"),
        ("n=2024-01-01", "is no single value"),
        ("n=a b", "'a b' is no TOML value"),
        ("n=1\nm=2", "is no single value"),
    ],
)
def test_what_is_no_param_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(WishError) as caught:
        read_wishes([text])
    assert message in str(caught.value)


def test_all_that_cannot_be_read_is_named_at_once() -> None:
    with pytest.raises(WishError, match=r"n: True is no TOML value.*'depth' is no param"):
        read_wishes(["n=True", "depth", "good=1"])


@pytest.mark.parametrize("text", ["0", "1", "9", "-3", "1.5", "10.5", "many", "nan", "inf"])
def test_sample_is_a_share_or_at_least_ten_rows(text: str) -> None:
    with pytest.raises(WishError, match=r"is no part of the rows; allowed: rows from 10, or a share such as 0.2"):
        read_wishes(sample=text)


def test_sample_or_dry_run_may_not_register() -> None:
    kinds = {read_wishes().kind: True, read_wishes(dry=True).kind: False, read_wishes(sample="0.2", dry=True).kind: False}
    assert kinds == {"full": True, "dry": False, "sample": False}
    assert read_wishes(sample="500").sample == 500
    assert not read_wishes(sample="500").may_register


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(),
        Wishes("small", {"n": 6, "rate": 1e-05, "on": False, "loss": 'a "b" \\ é'}, 1234567, True),
        Wishes(params={"n": "6"}, sample=0.1),
    ],
)
def test_wishes_travel_to_the_server_and_back_unchanged(wishes: Wishes) -> None:
    sent = wishes.as_parameters()
    assert all(isinstance(value, str | bool) for value in sent.values())
    back = read_wishes(
        str(sent.get("params", "")).splitlines(), str(sent.get("estimator", "")), str(sent.get("sample", "")), dry=wishes.dry
    )
    assert back == wishes
