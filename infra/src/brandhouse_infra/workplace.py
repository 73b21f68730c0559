"""Where stacks are written and worked on: one folder a stack, below the home. Which stacks there are is read from `brands/`."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from brandhouse_infra.environments import Environment, find_environment, read_environments
from brandhouse_infra.errors import InfraError
from brandhouse_infra.policing.foreign import foreign_names
from brandhouse_infra.site import PLATFORM, Place, brand_place, platform_place
from brandhouse_infra.stack_names import check_names
from brandhouse_infra.stacks import BrandStack, PlatformStack, Stack
from brandhouse_infra.synthesis import STACK_FILE, STACKS, Written, synthesize
from brandhouse_infra.targets.target import Target, find_target
from brandhouse_shared.brands import brand_folders, find_brand
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import Entry, EntryKind
from brandhouse_shared.settings import Settings
from brandhouse_shared.slugs import slug_of

OFFLINE = "offline"
ENDED = "destroyed"
"""State of a stack that is no more, in the ledger."""


class NoPlatformError(InfraError):
    """The target has no stack of what all brands share."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """One target and environment, on this machine.

    Attributes:
        settings: Of the process.
        target: What kind of place.
        environment: Which.
        output: Folder of everything that is written.
    """

    settings: Settings
    target: Target
    environment: Environment
    output: Path

    @classmethod
    def of(cls, settings: Settings, target: str, environment: str, output: Path | None = None) -> "Workplace":
        """The usual place: `infra/<target>/<environment>` below the home.

        Raises:
            UnknownTargetError, EnvironmentsError, UnknownEnvironmentError: If there is no such target or environment.
        """
        place = output or settings.home / "infra" / target / environment
        return cls(settings, find_target(target), find_environment(settings.root, environment), place)

    @property
    def stack_name(self) -> str:
        """`aws/production`, for the ledger."""
        return f"{self.target.name}/{self.environment.name}"

    def folder(self, stack: Stack) -> Path:
        """Where a stack lies."""
        return self.output / STACKS / stack.name

    def brand_names(self) -> list[str]:
        """All brands that the house has, the unreadable ones among them."""
        return [folder.name for folder in brand_folders(self.settings.brands_dir)]

    def stacks(self, tenants: Sequence[str]) -> list[Stack]:
        """The stacks of these tenants.

        Args:
            tenants: Brands, or `platform`.

        Raises:
            StackNamesError: If any brands of the house cannot have stacks beside each other, asked for or not.
            UnknownBrandError, BrandConfigError: If one cannot be read.
            NoPlatformError: If the target has no platform.
        """
        check_names(self.brand_names())
        return [self._stack(tenant) for tenant in dict.fromkeys(tenants)]

    def place(self, stack: Stack) -> Place:
        """Names and ARNs of a stack."""
        return brand_place(stack.brand, self.environment) if isinstance(stack, BrandStack) else platform_place(self.environment)

    def foreign(self, stack: Stack) -> list[str]:
        """What of other brands or environments a written stack names, a sentence each."""
        place = self.place(stack)
        document = json.loads((self.folder(stack) / STACK_FILE).read_text(encoding="utf-8"))
        slugs = [slug_of(name) for name in self.brand_names()]
        environments = list(read_environments(self.settings.root))
        names = foreign_names(
            document, slug=place.slug, tenant=place.tenant, environment=place.environment.name, slugs=slugs, environments=environments
        )
        return [f"{stack.name}: names {name}, which is not its own" for name in names]

    def write(self, stacks: Sequence[Stack]) -> list[Written]:
        """Synthesize stacks."""
        return synthesize(stacks, self.output, self.settings.home / "infra" / "jsii")

    def prepare_offline(self, stack: Stack) -> Path:
        """Copy a stack to where it is planned with nothing but this machine: its state stays there, and is nobody's."""
        folder = self.output / OFFLINE / stack.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder(stack) / STACK_FILE, folder / STACK_FILE)
        local = {"terraform": {"backend": {"local": {"path": "offline.tfstate"}}}}
        (folder / "backend_override.tf.json").write_text(json.dumps(local), encoding="utf-8")
        return folder

    def _stack(self, tenant: str) -> Stack:
        if tenant == PLATFORM:
            if not self.target.has_platform:
                raise NoPlatformError(f"target {self.target.name} has no platform stack; its shared parts are `brandhouse up`")
            return PlatformStack(self.environment, self.target)
        return BrandStack(find_brand(self.settings.brands_dir, tenant).config, self.environment, self.target)


def tenant_of(stack: Stack) -> str:
    """The brand's name, or `platform`."""
    return stack.brand.name if isinstance(stack, BrandStack) else PLATFORM


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def standing_stacks(ledger: Ledger, brand: str | None = None) -> list[Entry]:
    """What the ledger says of stacks that were applied, be it in part, and not destroyed since: their newest entries."""
    return [entry for entry in ledger.newest_entries(EntryKind.INFRA, brand, ("applied", "failed", ENDED)) if entry.state != ENDED]


def orphans(workplace: Workplace, standing: Iterable[Entry]) -> list[Entry]:
    """Stacks of this place that no folder declares any more: their brand was renamed or removed before it left."""
    declared = {*workplace.brand_names(), PLATFORM}
    return [entry for entry in standing if entry.name == workplace.stack_name and entry.brand not in declared]
