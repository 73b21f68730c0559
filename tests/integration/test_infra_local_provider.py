"""The local provider's handlers on a real store and a real database, without Terraform: made, read back, denied to the other brand."""

from collections.abc import Iterator

import psycopg
import pytest
from botocore.exceptions import ClientError
from tests.fixtures.infra_house import read_house
from tests.fixtures.local_house import LocalHouse, local_house

from brandhouse_infra.local.operator import operator_file
from brandhouse_infra.providers.local.provider import LocalProvider
from brandhouse_infra.providers.plugin import ProviderError, State
from brandhouse_infra.stacks import BrandStack
from brandhouse_infra.targets.local import LocalTarget

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHouse]:
    with local_house(tmp_path_factory.mktemp("local") / "work") as house:
        yield house


@pytest.fixture(scope="module")
def made(house: LocalHouse) -> tuple[LocalProvider, dict[str, dict[str, State]]]:
    """The provider, and the states of all resources of both brands."""
    provider = LocalProvider(operator_file(house.settings, "production"), house.settings.home)
    local = house.environment.local
    provider.configure({"store": local.store, "database": local.database, "region": house.environment.region})
    brands, environment = read_house(house.settings)
    states = {}
    for name, brand in brands.items():
        document = BrandStack(brand, environment, LocalTarget()).as_document()["resource"]
        states[name] = {kind: provider.create(kind, resolved(document, kind, house.bucket(name))) for kind in ORDER}
    return provider, states


ORDER = (
    "aws_s3_bucket",
    "aws_s3_bucket_versioning",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_iam_user",
    "aws_iam_user_policy",
    "local_access_key",
    "local_postgres_role",
    "local_postgres_schema",
)


def resolved(document: State, kind: str, bucket: str) -> State:
    """What Terraform would hand on: references become names, single blocks lists."""
    (config,) = document[kind].values()
    known = {
        "${aws_s3_bucket.data.id}": bucket,
        "${aws_iam_user.worker.name}": document["aws_iam_user"]["worker"]["name"],
        "${local_postgres_role.own.name}": document["local_postgres_role"]["own"]["name"],
    }

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {name: [plain(below)] if isinstance(below, dict) and name != "tags" else plain(below) for name, below in value.items()}
        if isinstance(value, list):
            return [plain(below) for below in value]
        return known.get(value, value) if isinstance(value, str) else value

    wanted = plain({name: value for name, value in config.items() if name not in ("provider", "lifecycle")})
    assert isinstance(wanted, dict)
    return wanted


def test_what_was_made_reads_back_as_it_was_made(made: tuple[LocalProvider, dict[str, dict[str, State]]]) -> None:
    provider, states = made
    for name, kinds in states.items():
        assert {kind: provider.read(kind, state) for kind, state in kinds.items()} == kinds, name


def test_what_was_changed_by_hand_reads_back_as_it_is(house: LocalHouse, made: tuple[LocalProvider, dict[str, dict[str, State]]]) -> None:
    provider, states = made
    store, bucket = house.client("s3"), house.bucket("auto")
    store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    versioning = states["auto"]["aws_s3_bucket_versioning"]
    found = provider.read("aws_s3_bucket_versioning", versioning)
    assert found and found["versioning_configuration"] == [{"status": "Suspended"}]
    assert provider.read("aws_s3_bucket_versioning", states["auto_deals"]["aws_s3_bucket_versioning"])
    provider.update("aws_s3_bucket_versioning", found, versioning)
    assert provider.read("aws_s3_bucket_versioning", versioning) == versioning


def test_keys_and_passwords_open_their_own_brand_only(house: LocalHouse, made: tuple[LocalProvider, dict[str, dict[str, State]]]) -> None:
    house.client("s3", "auto").put_object(Bucket=house.bucket("auto"), Key="dvc/one", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        house.client("s3", "auto").list_objects_v2(Bucket=house.bucket("auto_deals"))
    with psycopg.connect(house.secrets("auto", "database")["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE brand_production_auto.mine (one int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE brand_production_auto_deals.mine (one int)")


def test_a_bucket_with_objects_is_not_removed(house: LocalHouse, made: tuple[LocalProvider, dict[str, dict[str, State]]]) -> None:
    provider, states = made
    house.client("s3", "auto_deals").put_object(Bucket=house.bucket("auto_deals"), Key="dvc/one", Body=b"x")
    with pytest.raises(ProviderError, match="still holds objects"):
        provider.delete("aws_s3_bucket", states["auto_deals"]["aws_s3_bucket"])
    assert provider.find("aws_s3_bucket", house.bucket("auto_deals"))["tags"]["brand"] == "auto_deals"
