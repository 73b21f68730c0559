"""Where Terraform keeps what it knows of a stack: one state a brand and environment, which only its own deployer can read."""

from brandhouse_infra.environments import Environment
from brandhouse_infra.site import HOUSE, PLATFORM, Place

STATE_FILE = "terraform.tfstate"


def state_bucket(environment: Environment) -> str:
    """The bucket of all states of an environment; made once, by hand, before anything else (docs/infrastructure.md)."""
    return f"{HOUSE}-{environment.name}-state-{environment.account}"


def state_key_alias(environment: Environment) -> str:
    """Alias of the key of that bucket."""
    return f"alias/{HOUSE}/{environment.name}/state"


def state_prefix(place: Place) -> str:
    """Folder of a tenant's state; the tenant's name stands between two slashes, so that no other's begins with it."""
    if place.tenant == PLATFORM:
        return f"{PLATFORM}/{place.environment.name}"
    return f"brands/{place.tenant}/{place.environment.name}"


def s3_backend(place: Place) -> dict[str, object]:
    """The backend of a stack: versioned, encrypted, locked by an object beside the state."""
    environment = place.environment
    return {
        "s3": {
            "bucket": state_bucket(environment),
            "key": f"{state_prefix(place)}/{STATE_FILE}",
            "region": environment.region,
            "encrypt": True,
            "kms_key_id": state_key_alias(environment),
            "use_lockfile": True,
        }
    }
