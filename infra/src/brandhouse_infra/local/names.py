"""Names of roles and schemas in PostgreSQL. A kind stands before, so that no brand's name can make another brand's role."""

from brandhouse_infra.site import Place

MAX_NAME = 63
"""What PostgreSQL keeps of an identifier. A kind has 9 characters, an environment 10, a brand 40, with two underscores: 61."""


def deployer_role(environment: str, tenant: str) -> str:
    """Who reads and writes the tenant's state."""
    return f"deployer_{environment}_{tenant}"


def state_schema(environment: str, tenant: str) -> str:
    """Where the tenant's state is kept."""
    return f"state_{environment}_{tenant}"


def brand_role(place: Place) -> str:
    """Who the brand's processes are in the database."""
    return f"brand_{place.environment.name}_{place.tenant}"


def brand_schema(place: Place) -> str:
    """Where the brand keeps tables of its own."""
    return brand_role(place)


def user_name(place: Place) -> str:
    """Who the brand's processes are in the store; as the worker's role is called on AWS."""
    return place.role_name("worker")
