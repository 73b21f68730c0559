"""What stays in memory and what goes: a budget, the least recently used first, and never what answers at this moment."""

import asyncio
import gc
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brandhouse_serving.failures import VersionFailedError
from brandhouse_serving.loading import LoadedVersion, VersionLoader, placement_of
from brandhouse_serving.residency import FILE_FACTOR, VERSION_BYTES, Residency, compiled_bytes
from brandhouse_serving.slots import Slot
from brandhouse_shared.brands import Brand
from brandhouse_shared.config import Isolation

MIB = 1 << 20


class Loader:
    """Gives versions of the size that their number says, in MiB."""

    def __init__(self, budget_mib: int) -> None:
        self.residency = Residency(budget_mib * MIB, trim=lambda: None)
        self.loads: list[Any] = []
        self.broken: set[Any] = set()

    async def load(self, version: Any, brand: Any, *, wait_for_silo: bool) -> LoadedVersion:
        await asyncio.sleep(0)
        self.loads.append(version.key)
        if version.key in self.broken:
            raise VersionFailedError(version.key, "could not be loaded")
        manifest, unused = cast(Any, SimpleNamespace(classes=())), cast(Any, None)
        return LoadedVersion(version.key, manifest, unused, unused, unused, placement_of(brand), version.size * MIB)


BRAND = cast(Brand, SimpleNamespace(config=SimpleNamespace(isolation=Isolation.POOL, silo_memory_mib=None)))
SILO_BRAND = cast(Brand, SimpleNamespace(config=SimpleNamespace(isolation=Isolation.SILO, silo_memory_mib=None)))


def make_slots(loader: Loader, *sizes_mib: int) -> list[Slot]:
    versions = [SimpleNamespace(key=f"m{number}", size=size) for number, size in enumerate(sizes_mib)]
    return [Slot(cast(Any, version), cast(VersionLoader, loader)) for version in versions]


async def load_all(slots: list[Slot]) -> None:
    for slot in slots:
        await slot.load(BRAND)


def resident(slots: list[Slot]) -> list[int]:
    return [number for number, slot in enumerate(slots) if slot.memory_bytes]


def test_the_version_that_was_not_asked_for_longest_is_unloaded_first() -> None:
    async def scene() -> None:
        loader = Loader(budget_mib=3)
        slots = make_slots(loader, 1, 1, 1, 1, 1)
        await load_all(slots[:3])
        assert slots[0].loaded is not None, "this is a use"
        await load_all(slots[3:4])
        assert resident(slots) == [0, 2, 3]
        await load_all(slots[4:])
        assert resident(slots) == [0, 3, 4] or resident(slots) == [2, 3, 4]
        assert loader.residency.state.unloads == 2

    asyncio.run(scene())


def test_a_look_at_the_size_is_no_use() -> None:
    async def scene() -> None:
        slots = make_slots(Loader(budget_mib=2), 1, 1, 1)
        await load_all(slots[:2])
        assert slots[0].memory_bytes == MIB and slots[0].has_loaded
        await load_all(slots[2:])
        assert resident(slots) == [1, 2]

    asyncio.run(scene())


def test_a_version_that_is_kept_for_a_fallback_only_goes_before_all_others() -> None:
    async def scene() -> None:
        slots = make_slots(Loader(budget_mib=3), 1, 1, 1, 1)
        await load_all(slots[:3])
        slots[2].is_standby = True
        await load_all(slots[3:])
        assert resident(slots) == [0, 1, 3]

    asyncio.run(scene())


def test_as_much_goes_as_a_large_newcomer_needs_and_not_the_newcomer_itself() -> None:
    async def scene() -> None:
        slots = make_slots(Loader(budget_mib=4), 1, 1, 1, 3, 9)
        await load_all(slots[:4])
        assert resident(slots) == [2, 3]
        await load_all(slots[4:])
        assert resident(slots) == [4], "larger than the budget: it is served, alone"

    asyncio.run(scene())


def test_what_a_request_holds_stays_usable_after_it_was_unloaded_and_is_loaded_once_for_many() -> None:
    async def scene() -> None:
        loader = Loader(budget_mib=1)
        slots = make_slots(loader, 1, 1)
        held = await slots[0].load(BRAND)
        await slots[1].load(BRAND)
        assert slots[0].loaded is None and held.key == "m0"
        again = await asyncio.gather(*(slots[0].load(BRAND) for _ in range(50)))
        assert loader.loads == ["m0", "m1", "m0"] and len({id(one) for one in again}) == 1

    asyncio.run(scene())


def test_a_slot_that_nobody_holds_any_more_takes_no_place() -> None:
    async def scene() -> None:
        loader = Loader(budget_mib=2)
        slots = make_slots(loader, 1, 1, 1)
        await load_all(slots[:2])
        del slots[0]
        gc.collect()
        await load_all(slots[1:])
        assert (loader.residency.state.loaded, loader.residency.state.unloads) == (2, 0)

    asyncio.run(scene())


def test_a_failed_load_costs_nothing_and_unloads_nobody() -> None:
    async def scene() -> None:
        loader = Loader(budget_mib=1)
        slots = make_slots(loader, 1, 1)
        await slots[0].load(BRAND)
        loader.broken.add("m1")
        with pytest.raises(VersionFailedError):
            await slots[1].load(BRAND)
        assert resident(slots) == [0] and not slots[1].has_loaded

    asyncio.run(scene())


def test_another_isolation_loads_a_version_anew_and_the_present_one_stays_if_that_fails() -> None:
    async def scene() -> None:
        loader = Loader(budget_mib=9)
        slots = make_slots(loader, 1, 1)
        await load_all(slots)
        await slots[0].isolate(BRAND)
        assert loader.loads == ["m0", "m1"], "nothing has changed"
        await slots[0].isolate(SILO_BRAND)
        assert slots[0].loaded is not None and slots[0].loaded.placement == (Isolation.SILO, None)
        loader.broken.add("m1")
        with pytest.raises(VersionFailedError):
            await slots[1].isolate(SILO_BRAND)
        assert slots[1].loaded is not None and slots[1].loaded.placement == (Isolation.POOL, None)

    asyncio.run(scene())


def test_free_memory_is_given_back_to_the_system_after_much_was_unloaded() -> None:
    async def scene() -> None:
        trimmed = threading.Event()
        loader = Loader(budget_mib=40)
        loader.residency = Residency(40 * MIB, trim=trimmed.set)
        slots = make_slots(loader, 20, 20, 20, 20)
        await load_all(slots[:3])
        assert not trimmed.is_set(), "20 MiB are not worth it"
        await load_all(slots[3:])
        assert await asyncio.to_thread(trimmed.wait, 5)

    asyncio.run(scene())


def test_the_estimate_grows_with_the_file_and_covers_a_real_model(tmp_path: Path) -> None:
    assert compiled_bytes(0) == VERSION_BYTES
    assert compiled_bytes(100 * MIB) - compiled_bytes(0) == FILE_FACTOR * 100 * MIB
