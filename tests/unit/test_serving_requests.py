"""What of a request is checked before any model is asked: body, key, rate; and how errors and the API are described."""

import asyncio
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jsonschema
import orjson
import pytest

from brandhouse_serving import bodies
from brandhouse_serving.bodies import ClientGoneError, check_headers, instances_of, parse_json, read_body, refuse_repeated_fields
from brandhouse_serving.failures import UnavailableError
from brandhouse_serving.feedback import check_label
from brandhouse_serving.keys import KeyRing, Scope, permit
from brandhouse_serving.limits import TokenBucket
from brandhouse_serving.problems import RequestRefusedError, build_problem
from brandhouse_serving.schemas import field_schema, reply_schema, row_schema
from brandhouse_shared.api_keys import create_key
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import BrandhouseError, ContractViolationError, ForbiddenError, UnauthenticatedError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import KeyRecord
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

# -- bodies ------------------------------------------------------------------------------------------------------------


def parts(*messages: MutableMapping[str, Any]) -> Any:
    waiting = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    return receive


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_is_read_whole() -> None:
    assert asyncio.run(read_body(parts(part(b"{", True), part(b"", True), part(b"}")))) == b"{}"


def test_a_body_that_never_ends_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    with pytest.raises(RequestRefusedError, match="did not arrive within") as caught:
        asyncio.run(read_body(parts(part(b"{", True))))
    assert caught.value.status == 408


def test_a_client_that_leaves_is_not_answered() -> None:
    with pytest.raises(ClientGoneError):
        asyncio.run(read_body(parts(part(b"{", True), {"type": "http.disconnect"})))


def test_a_body_in_pieces_is_refused_when_the_sum_is_too_large() -> None:
    pieces = [part(b" " * 1_000_000, True) for _ in range(3)]
    with pytest.raises(RequestRefusedError, match="at most 2000000 bytes"):
        asyncio.run(read_body(parts(*pieces)))


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=UTF-8", b'application/json;charset="utf-8"'])
def test_json_is_taken_in_all_its_spellings(kind: bytes) -> None:
    check_headers({b"content-type": kind})


@pytest.mark.parametrize("kind", [b"", b"text/json", b"application/json; charset=latin-1", b"application/jsonp"])
def test_other_types_are_refused(kind: bytes) -> None:
    with pytest.raises(RequestRefusedError, match="must be application/json, in UTF-8"):
        check_headers({b"content-type": kind})


def test_a_length_beyond_all_bounds_is_too_large() -> None:
    with pytest.raises(RequestRefusedError) as caught:
        check_headers({b"content-type": b"application/json", b"content-length": b"9" * 5000})
    assert caught.value.status == 413


def test_what_json_cannot_say_is_refused_with_its_place() -> None:
    with pytest.raises(RequestRefusedError, match=r"the body is no valid JSON: .*\(character 5\)"):
        parse_json(b'{"a":NaN}')


ROWS = [{"a": 1, "b": "x:y"}, {"a": 2, "b": "z"}]


def test_a_colon_in_a_text_is_no_repeated_field() -> None:
    refuse_repeated_fields(orjson.dumps({"instances": ROWS}), ROWS)


def test_a_repeated_field_is_found_also_when_written_with_an_escape() -> None:
    with pytest.raises(ContractViolationError, match="a: given more than once in one object"):
        refuse_repeated_fields(b'{"instances": [{"a": 1, "\\u0061": 2, "b": "q"}]}', [{"a": 2, "b": "q"}])


def test_the_number_of_rows_is_limited() -> None:
    assert instances_of({"instances": [{}] * 3}, 3) == [{}] * 3
    with pytest.raises(RequestRefusedError, match="4 rows; allowed: at most 3 a request") as caught:
        instances_of({"instances": [{}] * 4}, 3)
    assert caught.value.status == 413


# -- keys and rates ----------------------------------------------------------------------------------------------------


class FakeLedger:
    def __init__(self) -> None:
        self.records: list[KeyRecord] = []
        self.reads = 0

    def add(self, brand: str, *scopes: str, expires_at: datetime | None = None) -> bytes:
        plain, record = create_key(brand, scopes, expires_at, actor="tester")
        self.records.append(record)
        return f"Bearer {plain}".encode()

    def keys_seq(self) -> int:
        return len(self.records)

    def keys(self) -> list[KeyRecord]:
        self.reads += 1
        return self.records


def ring_of(ledger: FakeLedger) -> KeyRing:
    ring = KeyRing(cast(Ledger, ledger))
    ring.refresh()
    return ring


def test_a_key_opens_its_own_brand_and_no_other() -> None:
    ledger = FakeLedger()
    casa, stil = ledger.add("casa", "predict"), ledger.add("stil", "predict")
    ring = ring_of(ledger)
    permit(ring.authenticate(casa), "casa", Scope.PREDICT)
    permit(ring.authenticate(stil), "stil", Scope.PREDICT)
    for brand in ("casa", "no_such_brand", "", "stil "):
        with pytest.raises(ForbiddenError, match=r"^this API key does not open that brand$"):
            permit(ring.authenticate(stil), brand, Scope.PREDICT)


def test_a_key_with_anothers_secret_is_unknown() -> None:
    ledger = FakeLedger()
    casa, stil = ledger.add("casa", "predict"), ledger.add("stil", "predict")
    mixed = b"_".join([*casa.split(b"_")[:2], *stil.split(b"_")[2:]])
    with pytest.raises(UnauthenticatedError, match="unknown API key"):
        ring_of(ledger).authenticate(mixed)


def test_the_scope_admin_holds_the_others() -> None:
    ledger = FakeLedger()
    admin, reader = ledger.add("casa", "admin"), ledger.add("casa", "read")
    ring = ring_of(ledger)
    for scope in Scope:
        permit(ring.authenticate(admin), "casa", scope)
    with pytest.raises(ForbiddenError, match="lacks the scope feedback"):
        permit(ring.authenticate(reader), "casa", Scope.FEEDBACK)


def test_an_expired_key_is_refused_without_a_new_look_into_the_ledger() -> None:
    ledger = FakeLedger()
    key = ledger.add("casa", "predict", expires_at=datetime.now(UTC) + timedelta(seconds=0.05))
    ring = ring_of(ledger)
    ring.authenticate(key)
    import time

    time.sleep(0.06)
    with pytest.raises(UnauthenticatedError, match="has expired"):
        ring.authenticate(key)


def test_keys_are_read_again_only_when_something_happened() -> None:
    ledger = FakeLedger()
    ledger.add("casa", "predict")
    ring = ring_of(ledger)
    ring.refresh()
    assert ledger.reads == 1
    new = ledger.add("casa", "predict")
    with pytest.raises(UnauthenticatedError):
        ring.authenticate(new)
    ring.refresh()
    assert ring.authenticate(new).brand == "casa" and ledger.reads == 2


def test_a_bucket_gives_its_rate_and_says_when_to_come_again() -> None:
    now = [0.0]
    bucket = TokenBucket(2, clock=lambda: now[0])
    assert [bucket.take() for _ in range(3)] == [0, 0, 1]
    now[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [0, 1]
    now[0] = 1000.0
    assert [bucket.take() for _ in range(3)] == [0, 0, 1], "a long pause saves up one second's worth, not more"


def test_a_slow_rate_lets_single_requests_through() -> None:
    now = [0.0]
    bucket = TokenBucket(0.1, clock=lambda: now[0])
    assert [bucket.take(), bucket.take()] == [0, 10]
    now[0] = 10.0
    assert bucket.take() == 0


# -- errors and descriptions -------------------------------------------------------------------------------------------


def test_an_unforeseen_error_says_nothing_of_itself() -> None:
    status, _, body = build_problem(BrandhouseError("password=secret"))
    assert status == 500 and b"secret" not in body


def test_a_refusal_holds_each_violation_and_when_to_come_again() -> None:
    status, _, body = build_problem(ContractViolationError("request", ["a: null given", "b: a text given"]))
    assert status == 422 and orjson.loads(body)["error"]["violations"] == ["a: null given", "b: a text given"]
    status, headers, _ = build_problem(UnavailableError(ModelKey("casa", "price"), "no version"))
    assert status == 503 and (b"retry-after", b"5") in headers


INPUTS = {
    "Area m2": InputField(type=FieldType.NUMBER, min=0, max=1000),
    "rooms": InputField(type=FieldType.INTEGER, nullable=True, description="Without the kitchen."),
    "kind": InputField(type=FieldType.CATEGORY, values=("flat", "house"), nullable=True),
    "score": InputField(type=FieldType.CATEGORY, values=(1, 2)),
    "free": InputField(type=FieldType.CATEGORY),
    "text": InputField(type=FieldType.TEXT, max_length=5, nullable=True),
    "sold": InputField(type=FieldType.DATE, format="%d.%m.%Y"),
    "garden": InputField(type=FieldType.BOOLEAN),
}
GOOD = {"Area m2": 80.5, "rooms": None, "kind": None, "score": 1, "free": "x", "text": "", "sold": "01.02.2026", "garden": True}


def manifest(task: Task = Task.REGRESSION, classes: tuple[Any, ...] = ()) -> Manifest:
    return Manifest(
        brand="casa",
        model="price",
        task=task,
        target="price",
        runtime=Runtime.CONSTANT,
        reason="test",
        inputs=INPUTS,
        classes=classes,
        constant=(1.0,),
        entrypoint="brand_casa.price",
        code_digest="0",
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"Area m2": None},
        {"Area m2": -1},
        {"Area m2": "80"},
        {"rooms": 2.5},
        {"kind": "castle"},
        {"score": "1"},
        {"score": 3},
        {"free": ""},
        {"text": "longer"},
        {"garden": 1},
        {"extra": 1},
    ],
)
def test_the_described_schema_and_the_contract_accept_and_refuse_the_same(change: dict[str, Any]) -> None:
    row = {**GOOD, **change}
    try:
        manifest().contract.parse_rows([row])
        accepted = True
    except ContractViolationError:
        accepted = False
    assert jsonschema.Draft202012Validator(row_schema(manifest())).is_valid(row) is accepted
    assert accepted is (change == {})


def test_a_field_describes_itself_in_its_own_words_or_by_what_it_allows() -> None:
    bounds = {"minimum": -(2**53), "maximum": 2**53}
    assert field_schema(INPUTS["rooms"]) == {"type": ["integer", "null"], "description": "Without the kitchen.", **bounds}
    assert field_schema(INPUTS["sold"])["description"] == "a date as text in the format %d.%m.%Y"


def test_an_answer_is_described_with_its_classes() -> None:
    described = reply_schema(manifest(Task.BINARY, ("no", "yes")))
    assert described["properties"]["predictions"]["items"] == {"enum": ["no", "yes"]}
    assert set(described["properties"]["probabilities"]["items"]["properties"]) == {"no", "yes"}
    assert "probabilities" not in reply_schema(manifest())["properties"]


def test_a_label_must_be_one_that_could_have_been_predicted() -> None:
    check_label(manifest(), 3)
    check_label(manifest(Task.BINARY, (0, 1)), 1)
    for task, classes, label in (
        (Task.REGRESSION, (), "3"),
        (Task.REGRESSION, (), True),
        (Task.BINARY, (0, 1), True),
        (Task.BINARY, (0, 1), [1]),
    ):
        with pytest.raises(ContractViolationError, match="label: allowed: "):
            check_label(manifest(task, classes), label)


def test_the_schema_of_an_open_category_gives_examples_and_no_closed_list() -> None:
    texts = field_schema(InputField(type=FieldType.CATEGORY, values=("Petrol", "Diesel"), others=True))
    codes = field_schema(InputField(type=FieldType.CATEGORY, values=(1, 2), others=True, nullable=True))
    assert texts["examples"] == ["Petrol", "Diesel"]
    assert "enum" not in texts
    assert codes["type"] == ["integer", "string", "null"]
