"""The router follows the ledger; the answerer finds someone to answer. Ledger and loader are fakes, nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brandhouse_serving.brand_directory import BrandDirectory
from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.loading import LoadedVersion, VersionLoader
from brandhouse_serving.prediction_log import LogRule
from brandhouse_serving.replies import Answerer, Reply, UnavailableError, predictions_of
from brandhouse_serving.router import Router
from brandhouse_serving.runtimes import check_scores
from brandhouse_shared.artifacts import Manifest, Runtime
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import FieldType, InputField
from brandhouse_shared.errors import ContractViolationError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.stages import Cause, Stage
from brandhouse_shared.metrics import Task
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
STIL = ModelKey("stil", "price")
TOML = """
name = "{name}"
title = "Casa"
story = "Homes for sale; predicts the asking price."
owner = "casa-data@house.example"
risk = "low"
budget_eur_month = 20

[datasets.homes]
file = "data/homes.csv"
source = {{ kind = "file", path = "homes.csv" }}

[models.price]
entrypoint = "brand_{name}.price"
dataset = "homes"
task = "regression"
target = "price"
metric = "rmse"
inputs = {{ area = {{ type = "number" }} }}
"""


def manifest_of(number: int, field: str = "area", task: Task = Task.REGRESSION, classes: tuple[Any, ...] = ()) -> Manifest:
    return Manifest(
        brand="casa",
        model="price",
        task=task,
        target="price",
        runtime=Runtime.COMPILED,
        reason="test",
        inputs={field: InputField(type=FieldType.NUMBER)},
        classes=classes,
        constant=(float(-number),),
        entrypoint="brand_casa.price",
        code_digest="0",
    )


class FakeLedger:
    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.fallbacks: list[tuple[Any, ...]] = []
        self.baselines: list[int] = []
        self.present: dict[ModelKey, int] = {}

    def promote(self, number: int, key: ModelKey = CASA, cause: Cause = Cause.CHANGED) -> None:
        self.present[key] = number
        self.entries.append(SimpleNamespace(version=key.version(number), to=Stage.PRODUCTION, cause=cause))

    def retire(self, key: ModelKey = CASA) -> None:
        del self.present[key]
        self.entries.append(SimpleNamespace(version=key.version(0), to=Stage.RETIRED, cause=Cause.CHANGED))

    def last_seq(self) -> int:
        return len(self.entries)

    def production_versions(self) -> dict[ModelKey, Any]:
        return {key: self.find_version(key.version(number)) for key, number in self.present.items()}

    def stage_events(self, key: ModelKey, limit: int) -> list[Any]:
        return [entry for entry in self.entries if entry.version.model_key == key]

    def find_version(self, version: Any) -> Any:
        kind = "baseline" if version.number in self.baselines else "candidate"
        return SimpleNamespace(key=version, number=version.number, record=SimpleNamespace(key=version.model_key, kind=kind))

    def versions(self, key: ModelKey) -> list[Any]:
        return [self.find_version(key.version(number)) for number in self.baselines]

    def record_fallback(self, key: ModelKey, number: int, reason: str, at: datetime) -> None:
        assert at.tzinfo is UTC
        self.fallbacks.append((key, number, reason))


class FakeRuntime:
    def __init__(self, loader: "FakeLoader", number: int) -> None:
        self.loader, self.number = loader, number

    async def predict(self, columns: Any, timeout_seconds: float) -> Any:
        if self.number in self.loader.mute:
            raise VersionFailedError(self.number, "runtime failed", "secret detail")
        return [float(self.number)] * len(next(iter(columns.values())))


class FakeLoader:
    def __init__(self) -> None:
        self.loads: list[int] = []
        self.broken: set[int] = set()
        self.mute: set[int] = set()
        self.fields: dict[int, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, version: Any, brand: Brand, *, wait_for_silo: bool) -> LoadedVersion:
        await self.gate.wait()
        self.loads.append(version.number)
        if version.number in self.broken:
            raise VersionFailedError(version.key, "artifact missing or altered", "/secret/path")
        manifest = manifest_of(version.number, self.fields.get(version.number, "area"))
        return LoadedVersion(version.key, manifest, manifest.contract, FakeRuntime(self, version.number), LogRule(True, (), (), ()))


class House:
    """Router, answerer and their fakes."""

    def __init__(self, brands: Path) -> None:
        self.brands = brands
        for name in ("casa", "stil"):
            (brands / name).mkdir(exist_ok=True)
            (brands / name / "brand.toml").write_text(TOML.format(name=name))
        self.ledger, self.loader = FakeLedger(), FakeLoader()
        ledger, loader = cast(Ledger, self.ledger), cast(VersionLoader, self.loader)
        self.router = Router(ledger, BrandDirectory(brands), loader)
        self.answerer = Answerer(ledger, loader)

    async def look(self) -> None:
        await self.router.refresh()
        await self.router.settle()

    async def ask(self, **row: Any) -> Reply:
        reply = await self.answerer.answer(self.router.table[CASA], [row or {"area": 1}])
        await self.answerer.settle()
        return reply


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    def run(scene: Callable[[House], Awaitable[None]]) -> None:
        async def act() -> None:
            await scene(House(tmp_path))

        asyncio.run(act())

    return run


def test_a_version_is_loaded_when_it_is_first_asked_and_only_once(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        assert house.loader.loads == []
        replies = await asyncio.gather(*(house.ask() for _ in range(20)))
        assert house.loader.loads == [1] and {reply.predictions[0] for reply in replies} == {1.0}

    play(scene)


def test_the_old_version_answers_until_the_new_one_is_loaded(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        house.ledger.promote(2)
        await house.router.refresh()
        held = house.router.table[CASA]
        assert (await house.ask()).predictions == [1.0]
        house.loader.gate.set()
        await house.router.settle()
        assert (await house.ask()).predictions == [2.0]
        assert (await house.answerer.answer(held, [{"area": 1}])).predictions == [1.0], "a running request keeps its route"

    play(scene)


def test_of_two_promotions_in_quick_succession_the_last_one_stands(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        for number in (2, 3):
            house.ledger.promote(number)
            await house.router.refresh()
        house.loader.gate.set()
        await house.router.settle()
        assert (await house.ask()).predictions == [3.0]

    play(scene)


def test_a_rollback_uses_the_version_that_is_still_loaded(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.ledger.promote(2)
        await house.look()
        house.ledger.promote(1, cause=Cause.ROLLED_BACK)
        await house.look()
        assert (await house.ask()).predictions == [1.0] and house.loader.loads == [1, 2]

    play(scene)


def test_a_retired_model_and_a_brand_without_a_folder_have_no_route(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        house.ledger.promote(1, STIL)
        house.ledger.promote(1, ModelKey("nobody", "price"))
        await house.look()
        assert set(house.router.table) == {CASA, STIL}
        house.ledger.retire()
        await house.look()
        assert set(house.router.table) == {STIL}

    play(scene)


def test_a_version_that_cannot_be_loaded_is_answered_by_the_one_a_rollback_would_bring(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.ledger.promote(1, cause=Cause.ROLLED_BACK)
        house.ledger.promote(3)
        house.loader.broken = {3}
        await house.look()
        reply = await house.ask()
        assert (reply.loaded.key.number, reply.served_by, reply.reason) == (1, "previous", "artifact missing or altered")
        assert house.ledger.fallbacks == [(CASA, 3, "artifact missing or altered")]
        await house.ask()
        assert len(house.ledger.fallbacks) == 1, "a lasting fallback is recorded once a minute, not once a request"
        assert house.loader.loads.count(3) == 1, "and the broken file is not read for each request"

    play(scene)


def test_several_broken_versions_in_a_row_lead_to_the_last_good_one(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2, 3):
            house.ledger.promote(number)
        house.loader.broken = {2, 3}
        await house.look()
        assert (await house.ask()).loaded.key.number == 1

    play(scene)


def test_if_no_version_answers_the_constant_of_production_does(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.loader.mute = {1, 2}
        await house.look()
        reply = await house.ask()
        assert (reply.predictions, reply.served_by, reply.reason) == ([-2.0], "baseline", "runtime failed")

    play(scene)


def test_the_last_resort_is_a_baseline_version_with_a_file_of_its_own_and_then_nothing(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.baselines = [1]
        house.ledger.promote(2)
        house.loader.broken = {2}
        await house.look()
        assert (await house.ask()).predictions == [-1.0]
        house.loader.broken = {1, 2}
        with pytest.raises(UnavailableError, match="casa/price cannot answer at present: artifact missing or altered"):
            await house.ask()

    play(scene)


def test_an_earlier_version_with_other_fields_does_not_turn_a_good_request_into_a_bad_one(play: Any) -> None:
    async def scene(house: House) -> None:
        for number in (1, 2):
            house.ledger.promote(number)
        house.loader.fields = {1: "older_name"}
        house.loader.mute = {2}
        await house.look()
        assert (await house.ask()).predictions == [-2.0]
        with pytest.raises(ContractViolationError, match="area: a text given"):
            await house.ask(area="x")

    play(scene)


def test_limits_follow_an_edited_brand_file_and_a_broken_edit_changes_nothing(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        file = house.brands / "casa" / "brand.toml"
        assert house.router.table[CASA].bucket is None
        file.write_text(file.read_text() + "\n[models.price.serving]\nrate_per_second = 5\n")
        house.ledger.promote(2)
        await house.look()
        bucket = house.router.table[CASA].bucket
        assert bucket is not None and bucket.rate_per_second == 5
        file.write_text("name = ")
        house.ledger.promote(3)
        await house.look()
        assert house.router.table[CASA].bucket is bucket, "and the tokens that were taken stay taken"

    play(scene)


def test_scores_become_the_first_of_the_most_probable_labels() -> None:
    manifest = manifest_of(1, task=Task.MULTICLASS, classes=("a", 2, True))
    predictions, probabilities = predictions_of(manifest, [[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]])
    assert predictions == [2, True] and probabilities == [[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]]


@pytest.mark.parametrize("scores", [[float("nan")], [1.0, float("inf")], [[0.5, float("nan")]]])
def test_a_score_that_is_no_number_is_a_failure(scores: Any) -> None:
    with pytest.raises(VersionFailedError, match="casa/price: answered a number that is not finite"):
        check_scores(scores, "casa/price")


def test_a_promotion_elsewhere_does_not_load_a_version_twice(play: Any) -> None:
    async def scene(house: House) -> None:
        house.ledger.promote(1)
        await house.look()
        await house.ask()
        house.loader.gate.clear()
        house.ledger.promote(2)
        await house.router.refresh()
        house.ledger.promote(1, STIL)
        await house.router.refresh()
        house.loader.gate.set()
        await house.router.settle()
        assert house.loader.loads == [1, 2] and (await house.ask()).predictions == [2.0]

    play(scene)
