from datetime import UTC, datetime, timedelta

import pytest

from brandhouse_shared.api_keys import check_secret, create_key, hash_secret, parse_key, verify
from brandhouse_shared.errors import UnauthenticatedError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_key_opens_its_own_record_among_others() -> None:
    pairs = [create_key(brand, ("predict",), None, actor="anna") for brand in ("kaasplein", "fietspunt") for _ in range(20)]
    records = [record for _, record in pairs]
    assert [verify(plain, records) for plain, _ in pairs] == records
    assert len({record.key_id for record in records}) == 40


def test_key_reads_prefix_id_and_a_secret_of_256_bits() -> None:
    plain, record = create_key("kaasplein", ["predict", "feedback"], None, actor="anna")
    key_id, secret = parse_key(plain)
    assert plain == f"bh_{record.key_id}_{secret}"
    assert (key_id, len(secret)) == (record.key_id, 43)
    assert record.scopes == ("predict", "feedback")


def test_record_holds_only_a_hash_and_does_not_show_it() -> None:
    plain, record = create_key("kaasplein", ("predict",), None, actor="anna")
    secret = parse_key(plain)[1]
    assert record.hash == hash_secret(secret)
    assert secret not in record.model_dump_json()
    assert record.hash not in repr(record)


def test_secret_may_hold_underscores() -> None:
    assert parse_key("bh_0a1b_s_e-c_") == ("0a1b", "s_e-c_")


@pytest.mark.parametrize("text", ["", "bh", "bh_", "bh_id", "bh_id_", "bh__secret", "sk_id_secret", "bh_id_sécret", "Bearer bh_id_secret"])
def test_text_of_another_form_is_no_key(text: str) -> None:
    with pytest.raises(UnauthenticatedError, match="this is no API key"):
        verify(text, [])


def test_wrong_secret_and_unknown_id_get_the_same_answer() -> None:
    plain, record = create_key("kaasplein", ("predict",), None, actor="anna")
    other, _ = create_key("kaasplein", ("predict",), None, actor="anna")
    messages = set()
    for text in (other, f"{plain}x", plain[:-1], f"bh_{record.key_id}_x"):
        with pytest.raises(UnauthenticatedError, match="unknown API key") as caught:
            verify(text, [record])
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_expired_key_is_refused_from_that_moment_on() -> None:
    plain, record = create_key("kaasplein", ("predict",), NOW, actor="anna")
    secret = parse_key(plain)[1]
    assert check_secret(secret, record, NOW - timedelta(seconds=1)) == record
    with pytest.raises(UnauthenticatedError, match="has expired"):
        check_secret(secret, record, NOW)


def test_only_the_holder_of_the_secret_learns_that_a_key_was_revoked() -> None:
    plain, record = create_key("kaasplein", ("predict",), None, actor="anna")
    revoked = record.model_copy(update={"revoked_at": NOW})
    with pytest.raises(UnauthenticatedError, match=f"API key {record.key_id} was revoked"):
        verify(plain, [revoked])
    with pytest.raises(UnauthenticatedError, match="unknown API key"):
        verify(f"bh_{record.key_id}_guess", [revoked])
