"""Carry out all probes by all brands against all others, and say of every surface what came of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from brandhouse_console.isolation_files import FILE_PROBES, home_probes
from brandhouse_console.isolation_probes import CALL_PROBES, CROSS_PROBES, Finding, Outcome, Probe
from brandhouse_console.isolation_surfaces import home_entries, served_calls
from brandhouse_console.isolation_timing import PAIRS, ROUNDS, SURFACE, Timing, measure_timing
from brandhouse_console.isolation_world import World
from brandhouse_shared.errors import BrandhouseError

BAD: tuple[Outcome, ...] = ("allowed", "not tried")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """One brand's attempt on another through one surface."""

    surface: str
    attacker: str
    victim: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All attempts.

    Attributes:
        at: When.
        against: What was tried: a gateway over a copy of the ledger, or the address of a running one.
    """

    at: datetime
    against: str
    brands: tuple[str, ...]
    cells: tuple[Cell, ...]
    timings: tuple[Timing, ...]

    @property
    def is_tight(self) -> bool:
        """Whether everything was tried, and all of it denied or known to be open."""
        return bool(self.cells) and not any(cell.outcome in BAD for cell in self.cells)

    @property
    def surfaces(self) -> dict[str, Counter[str]]:
        """Name of each surface, in the order tried, to how often each outcome came of it."""
        found: dict[str, Counter[str]] = {}
        for cell in self.cells:
            found.setdefault(cell.surface, Counter())[cell.outcome] += 1
        return found

    def first_detail(self, surface: str) -> str:
        """Why a surface is not simply denied; the worst reason first."""
        found = [cell for cell in self.cells if cell.surface == surface and cell.detail]
        order = ("allowed", "not tried", "known", "absent")
        worst = min(found, key=lambda cell: order.index(cell.outcome), default=None)
        return "" if worst is None else f"{worst.attacker} -> {worst.victim}: {worst.detail}"

    def as_document(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "at": self.at.isoformat(),
            "against": self.against,
            "brands": list(self.brands),
            "tight": self.is_tight,
            "surfaces": {name: dict(counts) for name, counts in self.surfaces.items()},
            "cells": [asdict(cell) for cell in self.cells],
            "timings": [asdict(timing) for timing in self.timings],
        }


def try_all(world: World, lane: Any, at: datetime, against: str, tell: Tell, rounds: int = ROUNDS) -> Matrix:
    """Try every surface.

    Args:
        world: What is tried.
        lane: The gateway's application, to be asked for its calls.
        at: When.
        against: What is tried, in words.
        tell: Told of each surface that begins.
        rounds: Of the timing.
    """
    brands = tuple(sorted(world.brands))
    cells: list[Cell] = []
    tell("first answers")
    for brand in brands:  # so that metrics, log and processes hold something of everyone that could be seen
        _control(world, CALL_PROBES["lane /v1/"], brand)
    for surface, probe in all_probes(served_calls(lane), home_entries(world.home)).items():
        tell(surface)
        cells += _try_surface(world, surface, probe, brands)
    tell(SURFACE)
    timings, timed = _try_timing(world, brands, rounds)
    return Matrix(at, against, brands, (*cells, *timed), tuple(timings))


def all_probes(calls: Sequence[str], entries: Sequence[str]) -> dict[str, Probe | None]:
    """Every surface with its probe, or None: served calls come from the gateway itself, and one without a probe stays in the list."""
    found = {call: CALL_PROBES.get(call) for call in calls}
    return {**found, **CROSS_PROBES, **FILE_PROBES, **home_probes(list(entries))}


def stale_probes(calls: Sequence[str]) -> list[str]:
    """Probes of calls that the gateway does not have any more."""
    return sorted(set(CALL_PROBES) - set(calls))


def _try_surface(world: World, surface: str, probe: Probe | None, brands: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for attacker in brands:
        fault = "no probe knows this surface" if probe is None else _control(world, probe, attacker)
        for victim in brands:
            if victim != attacker:
                finding = Finding("not tried", fault) if fault or probe is None else _attempt(world, probe, attacker, victim)
                cells.append(Cell(surface, attacker, victim, finding.outcome, finding.detail))
    return cells


def _attempt(world: World, probe: Probe, attacker: str, victim: str) -> Finding:
    return _guarded(lambda: probe.attempt(world, attacker, victim))


def _control(world: World, probe: Probe, brand: str) -> str:
    return _guarded(lambda: Finding("not tried", probe.control(world, brand))).detail


def _guarded(work: Callable[[], Finding]) -> Finding:
    """A probe that fails has tried nothing."""
    try:
        return work()
    except BrandhouseError as error:
        return Finding("not tried", str(error)[:300])
    except Exception as error:  # a probe may fail in any way, and must not end the others or pass for a denial
        return Finding("not tried", f"the probe failed: {type(error).__name__}: {str(error)[:200]}")


def _try_timing(world: World, brands: Sequence[str], rounds: int) -> tuple[list[Timing], list[Cell]]:
    pairs = [(attacker, victim) for attacker, victim in zip(brands, [*brands[1:], *brands[:1]], strict=True) if attacker != victim][:PAIRS]
    timings: list[Timing] = []
    cells: list[Cell] = []
    for attacker, victim in pairs:
        try:
            found = measure_timing(world, attacker, victim, rounds)
        except (BrandhouseError, OSError) as error:
            cells.append(Cell(SURFACE, attacker, victim, "not tried", str(error)[:300]))
            continue
        timings += found
        worst = max(found, key=lambda timing: timing.effect)
        outcome: Outcome = "allowed" if worst.is_told_apart else "denied"
        detail = f"effect size {worst.effect:.3f} between {worst.kinds[0]!r} and {worst.kinds[1]!r}; allowed: {worst.bound:.3f}"
        cells.append(Cell(SURFACE, attacker, victim, outcome, detail if worst.is_told_apart else ""))
    return timings, cells


def count_outcomes(counts: Mapping[str, int]) -> list[int]:
    """How often tried, denied, allowed, known, absent and not tried."""
    tried = sum(counts.values()) - counts.get("not tried", 0) - counts.get("absent", 0)
    return [tried, *(counts.get(name, 0) for name in ("denied", "allowed", "known", "absent", "not tried"))]
