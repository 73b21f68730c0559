"""The versions on trial that one model's requests meet: who answers a key, and where what is seen is counted."""

from collections.abc import Collection
from dataclasses import dataclass

from brandhouse_serving.slots import Slot
from brandhouse_serving.trial_evidence import Evidence, Trial, TrialRules
from brandhouse_serving.trial_keys import KeyHasher, SeenKeys, bound_of
from brandhouse_shared.config import ModelConfig
from brandhouse_shared.ledger.records import Version
from brandhouse_shared.ledger.stages import Stage
from brandhouse_shared.names import VersionKey

LOADING = "still loading"


class TrialRoute:
    """One version on trial. Lives as long as its trial, however often the routing table is made anew.

    Attributes:
        seen: Bodies of requests that were compared: the same one again would say nothing new.
    """

    def __init__(self, trial: Trial, slot: Slot) -> None:
        self.trial = trial
        self.slot = slot
        self.evidence = Evidence(trial)
        self.seen = SeenKeys()
        self._hasher = KeyHasher(trial.version)
        self._bound = bound_of(trial.share) if trial.share is not None else 0

    def hash(self, key: bytes) -> int:
        """Hash a request's key, for `takes` and the evidence."""
        return self._hasher.hash(key)

    def takes(self, key: int) -> bool:
        """Whether the requests of a hashed key are the canary's."""
        return key < self._bound


@dataclass(frozen=True, slots=True)
class RouteTrial:
    """What is on trial beside a model's version in production; there is at least one."""

    canary: TrialRoute | None
    shadows: tuple[TrialRoute, ...]


class TrialBook:
    """The trials that this process takes part in, and what it has seen of each."""

    def __init__(self) -> None:
        self._routes: dict[Trial, TrialRoute] = {}
        self._ended: list[Evidence] = []
        self._problems: dict[VersionKey, str] = {}

    def join(self, versions: Collection[tuple[Version, Slot]], production: Version, config: ModelConfig) -> RouteTrial | None:
        """Return a model's trials as they are now; one that goes on keeps what was seen of it.

        Args:
            versions: In canary or shadow, with their slots. One that was never loaded takes no part yet.
            production: The version in production.
            config: What the model declares.
        """
        routes = [self._route(_trial_of(version, production, config), slot) for version, slot in versions]
        self._end_others({production.key.model_key}, {route.trial for route in routes})
        ready = [route for route in routes if route.slot.has_loaded]
        canary = next((route for route in reversed(ready) if route.trial.stage is Stage.CANARY), None)
        shadows = tuple(route for route in ready if route.trial.stage is Stage.SHADOW)
        return RouteTrial(canary, shadows) if ready else None

    def note_load(self, version: VersionKey, problem: str) -> bool:
        """Say why a version could not be loaded, for all to see; empty: it was. Returns whether that is news."""
        is_news = self._problems.get(version) != problem
        self._problems[version] = problem
        for route in self._routes.values():
            if route.trial.version == version:
                route.evidence.note_problem(problem)
        return is_news

    def present(self) -> list[Evidence]:
        """What was seen of the trials that go on."""
        return [route.evidence for route in self._routes.values()]

    def take_ended(self) -> list[Evidence]:
        """What was seen of trials that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _route(self, trial: Trial, slot: Slot) -> TrialRoute:
        route = self._routes.get(trial)
        if route is None or route.slot is not slot:
            route = self._routes[trial] = TrialRoute(trial, slot)
            route.evidence.note_problem("" if slot.has_loaded else self._problems.get(trial.version, LOADING))
        return route

    def _end_others(self, models: Collection[object], trials: Collection[Trial]) -> None:
        for trial in [one for one in self._routes if one.version.model_key in models and one not in trials]:
            self._ended.append(self._routes.pop(trial).evidence)

    def end_all_but(self, models: Collection[object]) -> None:
        """End the trials of all models but these."""
        for trial in [one for one in self._routes if one.version.model_key not in models]:
            self._ended.append(self._routes.pop(trial).evidence)


def _trial_of(version: Version, production: Version, config: ModelConfig) -> Trial:
    rules = TrialRules(
        max_disagreement_share=config.trial.max_disagreement_share,
        tolerance=config.trial.tolerance,
        tolerance_share=config.trial.tolerance_share,
        budget_ms=config.serving.latency_budget_ms,
    )
    return Trial(version.key, version.stage, version.share, production.number, version.trial_since(production), rules)
