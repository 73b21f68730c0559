"""A brand's own corner of PostgreSQL: a role that may do nothing else, and the schema that it owns."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.local.names import brand_role, brand_schema
from brandhouse_infra.site import BrandPlace


def add_local_database(blocks: Blocks, place: BrandPlace) -> Reference:
    """Add role and schema. What is written here as false or empty is looked at again in every plan: more rights are drift."""
    role = blocks.resource(
        "local_postgres_role",
        "own",
        provider="aws",
        name=brand_role(place),
        brand=place.tenant,
        superuser=False,
        creates_roles=False,
        creates_databases=False,
        member_of=[],
    )
    return blocks.resource("local_postgres_schema", "own", keep=True, provider="aws", name=brand_schema(place), owner=role.name, others=[])
