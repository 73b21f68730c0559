"""Plan, apply, look for drift, destroy: one stack at a time, only what was planned and seen, everything in the ledger."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from brandhouse_infra.apply_events import Progress, read_events
from brandhouse_infra.costs.comparison import BrandCost, cost_of
from brandhouse_infra.costs.estimates import resources_of_plan
from brandhouse_infra.errors import InfraError
from brandhouse_infra.plans import Plan, PlanRefusedError, check_plan, describe, read_plan
from brandhouse_infra.stacks import BrandStack, Stack
from brandhouse_infra.synthesis import STACK_FILE
from brandhouse_infra.terraform import Terraform, failure, find_terraform
from brandhouse_infra.workplace import ENDED, Workplace, sha256_of, tenant_of
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.ledger.records import Entry, EntryKind

PLAN_FILE = "saved.tfplan"
RECORD_FILE = "saved.json"
LOCK_SECONDS = 10
AT_ONCE = 2
"""Terraform runs side by side: one a core of a small machine."""

Record = Callable[[Entry], Any]


class NoPlanError(InfraError):
    """Something is to be applied that was never planned, or not as it is now."""


class HalfAppliedError(InfraError):
    """An apply failed on the way.

    Attributes:
        done: Addresses that were changed.
        left: Addresses that were not.
    """

    def __init__(self, stack: str, progress: Progress, left: Sequence[str], cause: BrandhouseError) -> None:
        self.done, self.left = tuple(progress.done), tuple(left)
        lines = [f"  done: {_listed(self.done)}", f"  not done: {_listed(self.left)}", f"  because: {cause}"]
        super().__init__(
            f"{stack}: half applied. The state holds what was done; nothing is lost. Plan and apply again: only the rest is done\n"
            + "\n".join(lines)
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a stack came to.

    Attributes:
        stack: Which.
        plan: What would be done.
        cost: Of a brand's stack; None for the platform's, and where nothing costs.
        breaches: Rules that it breaks, a sentence each.
        file: The saved plan; None if it cannot be applied, since it breaks a rule, or was made to look.
    """

    stack: Stack
    plan: Plan
    cost: BrandCost | None
    breaches: tuple[str, ...]
    file: Path | None

    @property
    def tenant(self) -> str:
        """The brand, or `platform`."""
        return tenant_of(self.stack)


class Deployment:
    """What the commands do. It looks at no clock and prints nothing."""

    def __init__(
        self,
        workplace: Workplace,
        record: Record,
        actor: str,
        now: datetime,
        terraform: Terraform | None = None,
        lock_seconds: int = LOCK_SECONDS,
    ) -> None:
        """Begin.

        Args:
            workplace: Target and environment.
            record: Takes entries for the ledger.
            actor: Who acts.
            now: When, aware.
            terraform: By default the one of this machine.
            lock_seconds: How long to wait for someone else who works on the same stack.
        """
        self._lock = f"-lock-timeout={lock_seconds}s"
        self._work = workplace
        self._record = record
        self._actor = actor
        self._now = now
        self._terraform = terraform or find_terraform()

    def plan(
        self, tenants: Sequence[str], *, offline: bool = False, destroy: bool = False, only_look: bool = False
    ) -> Iterator[Planned | BrandhouseError]:
        """Plan stacks; yields them in order, each as soon as it is known. A stack that cannot be planned does not hide the others.

        Args:
            tenants: Brands, or `platform`.
            offline: Whether to ask nobody: everything looks new, and nothing can be applied.
            destroy: Whether to plan the end of the stack.
            only_look: Whether to save no plan and record nothing.
        """
        looks = offline or only_look
        stacks = self._work.stacks(tenants)
        with self._ready(stacks, offline=offline) as (folders, variables), ThreadPoolExecutor(AT_ONCE) as threads:
            brands = len(self._work.brand_names())
            yield from threads.map(lambda stack: self._planned(stack, folders[stack.name], variables, looks, destroy, brands), stacks)

    def apply(self, tenant: str, *, confirmed: str = "") -> Progress:
        """Apply the saved plan of a stack, if it is still what the code says.

        Args:
            tenant: The brand, or `platform`.
            confirmed: The brand's name, typed to agree to the end of data.

        Raises:
            NoPlanError: If there is no saved plan, or it is not of the stack as it is now.
            PlanRefusedError: If it would lose data and may not.
            HalfAppliedError: If it failed on the way.
        """
        (stack,) = self._work.stacks([tenant])
        with self._ready([stack], offline=False) as (folders, variables):
            folder = folders[stack.name]
            self._saved(stack, folder)
            document = self._terraform.show(stack.name, folder, folder / PLAN_FILE, variables=variables)
            plan = read_plan(document)
            self._refuse_loss(stack, plan, confirmed)
            return self._apply(stack, folder, plan, variables)

    def destroy(self, tenant: str, *, confirmed: str) -> Progress:
        """End a stack of a brand that leaves: planned, checked and seen to be empty first, since half a destroy has taken keys already.

        Raises:
            PlanRefusedError: If the brand does not leave, or its name was not typed.
            NoPlanError: If its store still holds something.
        """
        (planned,) = self.plan([tenant], destroy=True)
        if isinstance(planned, BrandhouseError):
            raise planned
        self._refuse_loss(planned.stack, planned.plan, confirmed)
        with self._ready([planned.stack], offline=False) as (folders, variables):
            if left := self._work.target.data_left(self._work.place(planned.stack), variables):
                self._note(planned.stack, "refused", f"Not destroyed: {left}", {})
                raise NoPlanError(f"{tenant}: not destroyed, nothing was done: there are still {left}. Export and empty it first")
            return self._apply(planned.stack, folders[planned.stack.name], planned.plan, variables, ended=True)

    def drift(self, tenants: Sequence[str]) -> Iterator[Planned | BrandhouseError]:
        """Compare what is there with what the code says; the finding goes into the ledger. Nothing is changed."""
        for planned in self.plan(tenants, only_look=True):
            if isinstance(planned, Planned):
                changed = planned.plan.does_something
                text = f"Differs: {describe(_acting(planned.plan))}" if changed else "As applied"
                self._note(planned.stack, "drifted" if changed else "clean", text, _counts(planned.plan))
            yield planned

    @contextmanager
    def _ready(self, stacks: Sequence[Stack], *, offline: bool) -> Iterator[tuple[dict[str, Path], Mapping[str, str]]]:
        self._work.write(stacks)
        folders = {stack.name: self._work.prepare_offline(stack) if offline else self._work.folder(stack) for stack in stacks}
        with self._work.target.session(self._work.settings, self._work.environment, list(folders.values()), offline=offline) as variables:
            yield folders, variables

    def _planned(
        self, stack: Stack, folder: Path, variables: Mapping[str, str], only_look: bool, destroy: bool, brands: int
    ) -> Planned | BrandhouseError:
        try:
            document = self._make_plan(stack, folder, variables, destroy)
        except BrandhouseError as error:
            if isinstance(error, PlanRefusedError):
                self._note(stack, "refused", "Would end what is kept", {})
            return error
        plan, resources = read_plan(document), resources_of_plan(document)
        breaches = (*self._work.target.breaches(resources), *self._work.foreign(stack))
        cost = None
        if isinstance(stack, BrandStack) and not destroy and self._work.target.has_platform:
            cost = cost_of(stack.brand, self._work.environment, self._work.target, resources, brands)
        if breaches or only_look:
            self._forget(folder)
            return Planned(stack, plan, cost, breaches, None)
        self._save(folder)
        self._note(stack, "planned", f"Planned: {plan}", {**_counts(plan), **({"eur_month": cost.eur} if cost else {})})
        return Planned(stack, plan, cost, (), folder / PLAN_FILE)

    def _make_plan(self, stack: Stack, folder: Path, variables: Mapping[str, str], destroy: bool) -> dict[str, Any]:
        self._forget(folder)
        self._terraform.run(stack.name, folder, "init", "-input=false", "-no-color", "-reconfigure", variables=variables)
        arguments = ["plan", "-input=false", "-no-color", self._lock, f"-out={PLAN_FILE}", *(["-destroy"] if destroy else [])]
        self._terraform.run(stack.name, folder, *arguments, variables=variables)
        return self._terraform.show(stack.name, folder, folder / PLAN_FILE, variables=variables)

    def _apply(self, stack: Stack, folder: Path, plan: Plan, variables: Mapping[str, str], *, ended: bool = False) -> Progress:
        arguments = ("apply", "-input=false", "-no-color", "-json", self._lock, PLAN_FILE)
        outcome = self._terraform.run(stack.name, folder, *arguments, variables=variables, allowed=(0, 1))
        self._forget(folder)
        progress = read_events(outcome.said)
        left = [change.address for change in _acting(plan) if change.address not in progress.done]
        if outcome.code == 0 and not progress.errors:
            self._note(stack, ENDED if ended else "applied", f"Done: {plan}", _counts(plan))
            return progress
        cause = failure(stack.name, "apply", progress.errors or outcome.errors)
        self._note(stack, "failed", f"{len(progress.done)} done, {len(left)} not done", {"done": list(progress.done), "left": left})
        raise HalfAppliedError(stack.name, progress, left, cause) if progress.done else cause

    def _refuse_loss(self, stack: Stack, plan: Plan, confirmed: str) -> None:
        leaving = isinstance(stack, BrandStack) and stack.brand.leaving
        try:
            check_plan(plan, tenant=tenant_of(stack), leaving=leaving, confirmed=confirmed, data_bearing=self._work.target.data_bearing)
        except BrandhouseError:
            lost = [change.address for change in plan.lost(self._work.target.data_bearing)]
            self._note(stack, "refused", f"Would lose {len(lost)} that hold data", {"lost": lost})
            raise

    def _save(self, folder: Path) -> None:
        plan = folder / PLAN_FILE
        plan.chmod(0o600)  # a plan holds what the state holds
        hashes = {"stack": sha256_of(folder / STACK_FILE), "plan": sha256_of(plan)}
        (folder / RECORD_FILE).write_text(json.dumps({**hashes, "at": self._now.isoformat(), "by": self._actor}), encoding="utf-8")

    def _saved(self, stack: Stack, folder: Path) -> None:
        """Refuse a plan that is missing, was altered, or is of another stack than the code now says."""
        again = f"run `brandhouse infra plan {tenant_of(stack)}` and look at it"
        try:
            saved = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
            found = {"stack": sha256_of(folder / STACK_FILE), "plan": sha256_of(folder / PLAN_FILE)}
        except (OSError, ValueError) as error:
            raise NoPlanError(f"{stack.name}: there is no saved plan; {again}") from error
        if saved.get("stack") != found["stack"]:
            raise NoPlanError(f"{stack.name}: the plan is of another state of the code than the one that is here; {again}")
        if saved.get("plan") != found["plan"]:
            raise NoPlanError(f"{stack.name}: the saved plan is not the one that was made; {again}")

    def _forget(self, folder: Path) -> None:
        for name in (PLAN_FILE, RECORD_FILE):
            (folder / name).unlink(missing_ok=True)

    def _note(self, stack: Stack, state: str, detail: str, facts: dict[str, Any]) -> None:
        entry = Entry(
            kind=EntryKind.INFRA,
            brand=tenant_of(stack),
            name=self._work.stack_name,
            state=state,
            detail=detail[:500],
            facts=facts,
            actor=self._actor,
            at=self._now,
        )
        self._record(entry)


def _acting(plan: Plan) -> list[Any]:
    return [change for change in plan.changes if change.action not in ("nothing", "read")]


def _counts(plan: Plan) -> dict[str, int]:
    return {action: plan.count(action) for action in ("create", "update", "replace", "delete")}


def _listed(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) or "nothing"
