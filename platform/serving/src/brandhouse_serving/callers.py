"""Who calls, and what is theirs: the first lines of every call that FastAPI answers."""

from fastapi import Request

from brandhouse_serving.failures import UnavailableError, VersionFailedError
from brandhouse_serving.keys import Scope, permit
from brandhouse_serving.loading import LoadedVersion
from brandhouse_serving.parts import Parts
from brandhouse_serving.router import Route
from brandhouse_serving.slots import Slot
from brandhouse_shared.artifacts import Manifest
from brandhouse_shared.ledger.records import KeyRecord
from brandhouse_shared.names import ModelKey


def authenticate(parts: Parts, request: Request) -> KeyRecord:
    """Return the caller's key.

    Raises:
        UnauthenticatedError: If there is none, or it is unknown, expired or revoked.
    """
    header = request.headers.get("authorization")
    return parts.keys.authenticate(None if header is None else header.encode("latin-1"))


def caller_brand(parts: Parts, request: Request) -> str:
    """Return the brand whose key was sent.

    Raises:
        UnauthenticatedError: If no valid key was.
        ForbiddenError: If the key may not read.
    """
    key = authenticate(parts, request)
    permit(key, key.brand, Scope.READ)
    return key.brand


def model_names(parts: Parts, brand: str) -> list[str]:
    """The models that a brand declares, with or without a version in production."""
    found = parts.directory.find(brand)
    return [] if found is None else list(found.config.models)


def routes_of(parts: Parts, brand: str) -> list[Route]:
    """The routes of a brand's models that have a version in production."""
    keys = [ModelKey(brand, name) for name in model_names(parts, brand)]
    return [parts.router.table[key] for key in keys if key in parts.router.table]


async def find_loaded(route: Route, slot: Slot | None = None) -> LoadedVersion | None:
    """Return the version in production, or that of `slot`, loaded; None if it cannot be loaded."""
    slot = slot or route.production
    try:
        return slot.loaded or await slot.load(route.brand)
    except VersionFailedError:
        return None


async def manifest_of(route: Route, slot: Slot | None = None) -> Manifest:
    """Return what describes the version in production, or that of `slot`.

    Raises:
        UnavailableError: If it cannot be loaded.
    """
    loaded = await find_loaded(route, slot)
    if loaded is None:
        raise UnavailableError(route.key, f"{(slot or route.production).version.key} cannot be loaded")
    return loaded.manifest
