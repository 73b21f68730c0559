"""What every provider of ours does alike: answer Terraform's calls with plain values. A provider says what a resource is and does."""

import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from brandhouse_infra.providers.protocol import ERROR, messages
from brandhouse_infra.providers.schema import Block, schema_message
from brandhouse_infra.providers.values import UNKNOWN, decode, decode_json, encode
from brandhouse_shared.errors import BrandhouseError

State = dict[str, Any]
"""Values of a resource, by attribute and block; None instead of it means: it is not there."""


class ProviderError(BrandhouseError):
    """A provider refuses: the configuration is wrong, or what it speaks with does not answer. Terraform shows the message."""


@dataclass(slots=True)
class Change:
    """A planned change, as `Provider.plan` sees it.

    Attributes:
        kind: Type of the resource.
        prior: What is there; None: nothing yet.
        proposed: What would be, with the configuration laid over what is there; unset computed attributes are None or what they were.
        config: As configured.
        replaced_for: Names of attributes whose change makes another resource; filled in by the plan.
    """

    kind: str
    prior: State | None
    proposed: State
    config: State
    replaced_for: list[str] = field(default_factory=list)


class Provider(Protocol):
    """What Terraform asks of a provider, in plain values. Any method may raise `ProviderError`."""

    @property
    def config_schema(self) -> Block:
        """Of the `provider` block."""

    @property
    def resources(self) -> Mapping[str, Block]:
        """By type."""

    @property
    def data_sources(self) -> Mapping[str, Block]:
        """By type."""

    def configure(self, config: State) -> None:
        """Take the `provider` block; called before anything below."""

    def check(self, kind: str, config: State) -> None:
        """Refuse a resource's configuration that its schema allows; values may be unknown."""

    def read(self, kind: str, state: State) -> State | None:
        """What is really there now; None: nothing any more."""

    def plan(self, change: Change) -> State:
        """What will be there. The default of `plan_by_schema` is enough where nothing is derived."""

    def create(self, kind: str, planned: State) -> State:
        """Make it; unknown values are filled in."""

    def update(self, kind: str, prior: State, planned: State) -> State:
        """Change it."""

    def delete(self, kind: str, state: State) -> None:
        """Remove it."""

    def read_data(self, kind: str, config: State) -> State:
        """Look something up."""

    def find(self, kind: str, identifier: str) -> State:
        """What is there under this identifier, for `terraform import`."""


def plan_by_schema(block: Block, change: Change) -> State:
    """Plan by what the schema says: computed attributes that nothing sets are unknown in a new resource, and stay in an old one."""
    for name, attribute in block.attributes.items():
        if attribute.forces_replacement and change.prior is not None and change.prior.get(name) != change.proposed.get(name):
            change.replaced_for.append(name)
    fresh = change.prior is None or bool(change.replaced_for)
    planned = dict(change.proposed)
    for name, attribute in block.attributes.items():
        if attribute.computed and change.config.get(name) is None and (fresh or planned.get(name) is None):
            planned[name] = UNKNOWN
    return planned


class Servicer:
    """Turns Terraform's calls into those of a provider, and errors into diagnostics. One for all threads of a process."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._classes = messages()
        self._schemas: Any = None

    def method(self, name: str) -> Callable[[Any, Any], Any]:
        """The function that answers a call."""
        answer: Callable[[Any], Any] = getattr(self, "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
        failed = _FAILED.get(name)
        return lambda request, _context: self._guarded(answer, failed, request)

    def _guarded(self, answer: Callable[[Any], Any], failed: str | None, request: Any) -> Any:
        try:
            return answer(request)
        except ProviderError as error:
            problem = self._problem(str(error), "")
        except Exception as error:  # an entry point: without this Terraform says only that the plugin crashed
            problem = self._problem(f"{type(error).__name__} in the provider: {str(error)[:500]}", traceback.format_exc(limit=-4))
        if failed is None:
            raise RuntimeError(problem.summary)
        return self._classes[failed](diagnostics=[problem])

    def _problem(self, summary: str, detail: str) -> Any:
        return self._classes["Diagnostic"](severity=ERROR, summary=summary, detail=detail)

    def _value(self, value: Any) -> Any:
        return self._classes["DynamicValue"](msgpack=encode(value))

    def _get_provider_schema(self, _request: Any) -> Any:
        if self._schemas is None:
            self._schemas = self._classes["Schemas"](
                provider=schema_message(self._provider.config_schema),
                resource_schemas=self._entries(self._provider.resources.items()),
                data_source_schemas=self._entries(self._provider.data_sources.items()),
            )
        return self._schemas

    def _entries(self, blocks: Iterable[tuple[str, Block]]) -> list[Any]:
        return [self._classes["SchemaEntry"](key=kind, value=schema_message(block)) for kind, block in blocks]

    def _validate_provider_config(self, _request: Any) -> Any:
        return self._classes["ProviderConfigChecked"]()

    def _validate_resource_config(self, request: Any) -> Any:
        self._provider.check(request.type_name, decode(request.config))
        return self._classes["Checked"]()

    def _validate_data_resource_config(self, _request: Any) -> Any:
        return self._classes["Checked"]()

    def _upgrade_resource_state(self, request: Any) -> Any:
        state = decode_json(request.raw_state.json)
        known = self._provider.resources[request.type_name].names
        state = {name: state.get(name) for name in known} if state is not None else None
        return self._classes["Upgraded"](upgraded_state=self._value(state))

    def _configure_provider(self, request: Any) -> Any:
        self._provider.configure(decode(request.config) or {})
        return self._classes["Checked"]()

    def _read_resource(self, request: Any) -> Any:
        state = decode(request.current_state)
        found = self._provider.read(request.type_name, state) if state is not None else None
        return self._classes["WasRead"](new_state=self._value(found), private=request.private)

    def _plan_resource_change(self, request: Any) -> Any:
        proposed = decode(request.proposed_new_state)
        if proposed is None:
            return self._classes["Planned"](planned_state=self._value(None))
        change = Change(request.type_name, decode(request.prior_state), proposed, decode(request.config) or {})
        planned = self._provider.plan(change)
        steps = self._classes["Step"]
        paths = [self._classes["AttributePath"](steps=[steps(attribute_name=name)]) for name in change.replaced_for]
        return self._classes["Planned"](planned_state=self._value(planned), requires_replace=paths)

    def _apply_resource_change(self, request: Any) -> Any:
        prior, planned = decode(request.prior_state), decode(request.planned_state)
        try:
            state = self._apply(request.type_name, prior, planned)
        except ProviderError as error:  # what was there before stays in the state: nothing is lost
            return self._classes["Applied"](new_state=self._value(prior), diagnostics=[self._problem(str(error), "")])
        return self._classes["Applied"](new_state=self._value(state))

    def _apply(self, kind: str, prior: State | None, planned: State | None) -> State | None:
        if planned is None:
            self._provider.delete(kind, prior or {})
            return None
        if prior is None:
            return self._provider.create(kind, planned)
        return self._provider.update(kind, prior, planned)

    def _read_data_source(self, request: Any) -> Any:
        return self._classes["DataRead"](state=self._value(self._provider.read_data(request.type_name, decode(request.config) or {})))

    def _import_resource_state(self, request: Any) -> Any:
        state = self._value(self._provider.find(request.type_name, request.id))
        return self._classes["Imported"](imported_resources=[self._classes["ImportedResource"](type_name=request.type_name, state=state)])

    def _stop_provider(self, _request: Any) -> Any:
        return self._classes["Stopped"]()


_FAILED = {
    "GetProviderSchema": "Schemas",
    "ValidateProviderConfig": "ProviderConfigChecked",
    "ValidateResourceConfig": "Checked",
    "ValidateDataResourceConfig": "Checked",
    "UpgradeResourceState": "Upgraded",
    "ConfigureProvider": "Checked",
    "ReadResource": "WasRead",
    "PlanResourceChange": "Planned",
    "ApplyResourceChange": "Applied",
    "ImportResourceState": "Imported",
    "ReadDataSource": "DataRead",
}
"""The message in which a failed call carries its diagnostics."""
