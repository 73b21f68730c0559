"""Probes of what lies on the disk and of what brand code runs in: folders of the home, the store, processes, batch files."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from brandhouse_console.isolation_probes import DENIED, Finding, Probe
from brandhouse_console.isolation_surfaces import OF_THE_PLATFORM, PER_BRAND
from brandhouse_console.isolation_world import World
from brandhouse_shared.artifacts import load_artifact_store
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import ArtifactCorruptError, DatasetError

NOT_A_BRAND = ("deleted-", "_", ".")
"""Beginnings of names in a folder of brands that belong to no brand."""


@dataclass(frozen=True, slots=True)
class PredictionFiles:
    """What is kept of the answers of one brand names no other."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if _files(world, brand) else f"nothing of {brand}'s answers is on the disk"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        theirs = f"{world.model(victim).dotted}.v".encode()
        found = [path.name for path in _files(world, attacker) if theirs in path.read_bytes()]
        return Finding("allowed", f"{found[0]} of {attacker} names a prediction of {victim}") if found else DENIED


def _files(world: World, brand: str) -> list[Path]:
    return [path for path in (world.settings.home / "predictions" / brand).rglob("*") if path.is_file()]


@dataclass(frozen=True, slots=True)
class ModelStore:
    """A brand's key and another's digest find no artifact."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        version = world.versions[brand] if world.model(brand) else None
        try:
            load_artifact_store(world.settings).find(world.model(brand), version.record.artifact_digest if version else "")
        except ArtifactCorruptError as error:
            return str(error)
        return ""

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        world.model(victim)
        try:
            load_artifact_store(world.settings).find(world.model(attacker), world.versions[victim].record.artifact_digest)
        except ArtifactCorruptError:
            return DENIED
        return Finding("allowed", f"the store gave {attacker} the artifact of {victim}")


@dataclass(frozen=True, slots=True)
class SiloEnvironment:
    """The environment of a brand's own process holds no secret of another brand, no ledger and no key."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if world.pid is not None else "the gateway runs already: its processes are not looked at"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        found = _silo_environments(world, attacker)
        if not found:
            return Finding("absent", f"{attacker} has no process of its own: its versions are compiled")
        for environment in found:
            for what, text in (("a secret", world.planted[victim]), ("a key", world.keys[victim]), ("the ledger", "BRANDHOUSE_LEDGER_URL")):
                if text in environment:
                    return Finding("allowed", f"{attacker}'s process has {what} of {victim} in its environment")
        return DENIED


@dataclass(frozen=True, slots=True)
class SiloFiles:
    """Whether a brand's own process could open another brand's artifact: by its operating system user it could."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if world.pid is not None else "the gateway runs already: its processes are not looked at"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        owners = [path.stat().st_uid for path in _silo_processes(world, attacker)]
        if not owners:
            return Finding("absent", f"{attacker} has no process of its own: its versions are compiled")
        theirs = (world.home / "bentoml" / victim).stat()
        if any(uid in (0, theirs.st_uid) or theirs.st_mode & 0o007 for uid in owners):
            return Finding("known", f"{attacker}'s process runs as a user that may read the files of {victim} (docs/isolation.md)")
        return DENIED


def _silo_processes(world: World, brand: str) -> Iterator[Path]:
    """The `/proc` folders of a brand's processes below our gateway."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        is_ours = str(world.settings.home).encode() in arguments
        if is_ours and b"brandhouse_serving.silo" in arguments and arguments[arguments.index(b"--brand") + 1] == brand.encode():
            yield folder


def _silo_environments(world: World, brand: str) -> list[str]:
    return [(folder / "environ").read_bytes().decode(errors="replace") for folder in _silo_processes(world, brand)]


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """`brandhouse score` of one brand neither reads nor writes in another's folder, or in the platform's state."""

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if _may_score(world, brand, world.brands[brand].folder / "rows.csv") else f"{brand} may not score in its own folder"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        own = world.brands[attacker].folder
        places = [world.brands[victim].folder / "rows.csv", own / ".." / victim / "rows.csv", world.settings.home / "predictions" / victim]
        open_ones = [place for place in places if _may_score(world, attacker, place)]
        return Finding("allowed", f"a file may lie at {open_ones[0]}") if open_ones else DENIED


def _may_score(world: World, brand: str, path: Path) -> bool:
    from brandhouse_flows.batch_scoring import check_place

    try:
        check_place(world.settings, brand, path)
    except DatasetError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class HomeFolder:
    """An entry of the home in which each brand has a folder: everything in it lies below the name of one brand."""

    name: str

    def control(self, world: World, brand: str) -> str:
        """See `Probe.control`."""
        return "" if os.access(world.home / self.name, os.R_OK) else f"{self.name} cannot be read"

    def attempt(self, world: World, attacker: str, victim: str) -> Finding:
        """See `Probe.attempt`."""
        known = {folder.name for folder in brand_folders(world.settings.brands_dir)}
        strangers = [path.name for path in (world.home / self.name).iterdir() if path.is_dir() and not _is_of(path.name, known)]
        if strangers:
            return Finding("not tried", f"{self.name}/{strangers[0]} belongs to no brand: nobody can say whose it is")
        both = world.home / self.name / attacker / victim
        return Finding("allowed", f"{self.name}/{attacker} holds a folder of {victim}") if both.exists() else DENIED


def _is_of(name: str, known: set[str]) -> bool:
    return name in known or name.startswith(NOT_A_BRAND)


FILE_PROBES: Mapping[str, Probe] = {
    "prediction log and label files": PredictionFiles(),
    "model store": ModelStore(),
    "silo process: environment": SiloEnvironment(),
    "silo process: files": SiloFiles(),
    "score: input and output": BatchFiles(),
}
"""What is tried beside calls."""


def home_probes(entries: list[str]) -> dict[str, Probe | None]:
    """A probe an entry of the home; None for one that nobody has classified. Those of the platform itself need none."""
    return {f"home: {name}/": HomeFolder(name) if name in PER_BRAND else None for name in entries if name not in OF_THE_PLATFORM}
