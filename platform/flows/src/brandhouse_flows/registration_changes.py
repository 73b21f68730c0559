"""What a registration with the Prefect server changed, and reading what the server has."""

from dataclasses import dataclass
from typing import Any, Self

from prefect.client.orchestration import PrefectClient

PAGE = 200


@dataclass(frozen=True, slots=True)
class Diff:
    """What a registration changed, as full names."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.created or self.updated or self.removed)

    def __add__(self, other: Self) -> "Diff":
        return Diff(
            self.created + other.created, self.updated + other.updated, self.removed + other.removed, self.unchanged + other.unchanged
        )

    def __str__(self) -> str:
        lines = [f"{sign} {name}" for sign, names in (("+", self.created), ("~", self.updated), ("-", self.removed)) for name in names]
        changes = f"{len(self.created)} created, {len(self.updated)} updated, {len(self.removed)} removed, {self.unchanged} unchanged"
        return "\n".join([*lines, "nothing to do" if self.is_empty else changes])


async def read_all(client: PrefectClient, path: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Read all pages as plain values: building Prefect's objects for thousands takes longer than asking for them."""
    rows: list[dict[str, Any]] = []
    while True:
        response = await client.request("POST", path, json={**body, "limit": PAGE, "offset": len(rows)})
        page = response.json()
        rows += page
        if len(page) < PAGE:
            return rows
