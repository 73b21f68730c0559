"""Entries for a brand's secrets. Values are put in by people, never by Terraform: its state would show them."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.site import Place

SETTINGS = "settings"
"""A JSON object of variables for the brand's processes: `BRANDHOUSE_LEDGER_URL`, `BRANDHOUSE_SECRET_<BRAND>_...`."""

WAITING_DAYS = 30
"""How long a deleted secret can be had back. Its name is taken so long, too."""


def add_secrets(blocks: Blocks, place: Place, key: Reference) -> Reference:
    """Add the brand's one entry."""
    return blocks.resource(
        "aws_secretsmanager_secret",
        SETTINGS,
        tagged=True,
        keep=True,
        name=secret_name(place, SETTINGS),
        description=f"Variables of the processes of {place.tenant}; a JSON object",
        kms_key_id=key.arn,
        recovery_window_in_days=WAITING_DAYS,
    )


def secret_name(place: Place, name: str) -> str:
    """Name of an entry."""
    return f"{place.path}/{name}"
