"""The local target for real: two brands made, broken, repaired and ended in a real store and a real database by a real Terraform."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from tests.fixtures.infra_house import write_brand
from tests.fixtures.local_house import LocalHouse, local_house

from brandhouse_infra.deployment import HalfAppliedError, NoPlanError
from brandhouse_infra.local.deployers import DatabaseDownError
from brandhouse_infra.local.operator import OperatorError, operator_file
from brandhouse_infra.plans import PlanRefusedError
from brandhouse_infra.terraform import StateLockedError, StoreDownError, find_terraform
from brandhouse_infra.workplace import sha256_of
from brandhouse_shared.errors import BrandhouseError

pytestmark = [pytest.mark.alone, pytest.mark.slow]

ALL = {
    "aws_iam_user.worker",
    "aws_iam_user_policy.worker",
    "aws_s3_bucket.data",
    "aws_s3_bucket_lifecycle_configuration.data",
    "aws_s3_bucket_server_side_encryption_configuration.data",
    "aws_s3_bucket_versioning.data",
    "local_access_key.worker",
    "local_postgres_role.own",
    "local_postgres_schema.own",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHouse]:
    """Two brands, applied once."""
    with local_house(tmp_path_factory.mktemp("local") / "work") as house:
        for brand in ("auto", "auto_deals"):
            planned = house.plan(brand)
            assert not planned.breaches, planned.breaches
            assert set(house.deployment.apply(brand).done) == ALL
        yield house


def as_operator(house: LocalHouse, statement: str) -> list[tuple[Any, ...]]:
    operator = house.operator
    with psycopg.connect(
        **house.environment.local.connection, user=operator.database_user, password=operator.database_password
    ) as connection:
        done = connection.execute(statement)  # type: ignore[call-overload]
        return done.fetchall() if done.description else []


def as_deployer(house: LocalHouse, tenant: str, statement: str) -> list[tuple[Any, ...]]:
    user, file = f"deployer_production_{tenant}", house.state_file(tenant)
    with psycopg.connect(**house.environment.local.connection, user=user, passfile=str(file)) as connection:
        done = connection.execute(statement)  # type: ignore[call-overload]
        return done.fetchall() if done.description else []


def as_brand(house: LocalHouse, tenant: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(house.secrets(tenant, "database")["DATABASE_URL"]) as connection:
        done = connection.execute(statement)  # type: ignore[call-overload]
        return done.fetchall() if done.description else []


def state_of(house: LocalHouse, tenant: str) -> str:
    ((data,),) = as_deployer(house, tenant, f"SELECT data FROM state_production_{tenant}.states")
    return str(data)


def test_a_second_apply_changes_nothing_and_nothing_differs(house: LocalHouse) -> None:
    for brand in ("auto", "auto_deals"):
        assert str(house.plan(brand).plan) == "no changes"
        assert house.differing(brand) == set()


def test_brands_that_begin_at_once_do_not_lock_each_other_out(house: LocalHouse) -> None:
    """Terraform locks the whole database to make a first state; so there is one before it comes."""
    names = [f"new{letter}" for letter in "abcd"]
    for name in names:
        write_brand(house.settings.root, name)
    errors = [found for found in house.deployment.plan(names) if isinstance(found, BrandhouseError)]
    assert not errors


def test_a_brand_can_use_what_is_its_own(house: LocalHouse) -> None:
    store, bucket = house.client("s3", "auto"), house.bucket("auto")
    store.put_object(Bucket=bucket, Key="dvc/one", Body=b"x")
    assert store.get_object(Bucket=bucket, Key="dvc/one")["Body"].read() == b"x"
    assert store.head_object(Bucket=bucket, Key="dvc/one")["ServerSideEncryption"] == "AES256", "not encrypted by default"
    as_brand(house, "auto", "CREATE TABLE brand_production_auto.seen AS SELECT 1 AS one")
    assert as_brand(house, "auto", "SELECT one FROM brand_production_auto.seen") == [(1,)]
    as_brand(house, "auto", "DROP TABLE brand_production_auto.seen")


def test_a_brands_key_opens_no_other_brands_bucket(house: LocalHouse) -> None:
    house.client("s3", "auto_deals").put_object(Bucket=house.bucket("auto_deals"), Key="dvc/theirs", Body=b"secret")
    store, bucket = house.client("s3", "auto"), house.bucket("auto_deals")
    tries = {
        "get": lambda: store.get_object(Bucket=bucket, Key="dvc/theirs"),
        "head": lambda: store.head_object(Bucket=bucket, Key="dvc/theirs"),
        "list": lambda: store.list_objects_v2(Bucket=bucket),
        "versions": lambda: store.list_object_versions(Bucket=bucket),
        "put": lambda: store.put_object(Bucket=bucket, Key="dvc/theirs", Body=b"mine"),
        "delete": lambda: store.delete_object(Bucket=bucket, Key="dvc/theirs"),
        "copy": lambda: store.copy_object(Bucket=house.bucket("auto"), Key="stolen", CopySource={"Bucket": bucket, "Key": "dvc/theirs"}),
        "open": lambda: store.put_bucket_policy(Bucket=bucket, Policy="{}"),
        "unversion": lambda: store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
        "end": lambda: store.delete_bucket(Bucket=bucket),
        "own versioning": lambda: store.put_bucket_versioning(Bucket=house.bucket("auto"), VersioningConfiguration={"Status": "Suspended"}),
        "own delete": lambda: store.delete_object(Bucket=house.bucket("auto"), Key="dvc/one"),
        "policy": lambda: house.client("iam", "auto").put_user_policy(
            UserName="brandhouse-production-auto-worker", PolicyName="worker", PolicyDocument="{}"
        ),
        "key": lambda: house.client("iam", "auto").create_access_key(UserName="brandhouse-production-auto-deals-worker"),
    }
    allowed = [name for name, attempt in tries.items() if not is_denied(attempt)]
    assert not allowed, f"auto could: {allowed}"
    found = house.client("s3", "auto_deals").get_object(Bucket=bucket, Key="dvc/theirs")
    assert found["Body"].read() == b"secret"


def is_denied(attempt: Any) -> bool:
    try:
        attempt()
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
        return True
    return False


def test_a_deployer_reads_its_own_state_and_a_brand_reads_none(house: LocalHouse) -> None:
    assert "aws_s3_bucket" in state_of(house, "auto")
    theirs = "state_production_auto_deals.states"
    for statement in (f"SELECT data FROM {theirs}", f"UPDATE {theirs} SET data = ''", f"DELETE FROM {theirs}", f"DROP TABLE {theirs}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_deployer(house, "auto", statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_brand(house, "auto_deals", statement)
    for statement in ("CREATE SCHEMA mine", "CREATE TABLE public.mine (one int)", "DROP TABLE state_production_auto.states"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_deployer(house, "auto", statement)


def test_terraform_itself_is_denied_another_brands_state(house: LocalHouse, tmp_path: Path) -> None:
    """The stack of one brand with the password of another: as whoever has both repositories would try."""
    stack = json.loads((house.work.output / "stacks" / "auto_deals" / "cdk.tf.json").read_text())
    backend = stack["terraform"]["backend"]["pg"]
    assert "deployer_production_auto_deals@" in backend["conn_str"]
    (tmp_path / "cdk.tf.json").write_text(json.dumps({"terraform": {"backend": {"pg": backend}}}))
    denied = plain_terraform(house, tmp_path, "auto", "init")
    assert denied.returncode and "password" in denied.stderr, denied.stderr
    backend["conn_str"] = backend["conn_str"].replace("deployer_production_auto_deals@", "deployer_production_auto@")
    (tmp_path / "cdk.tf.json").write_text(json.dumps({"terraform": {"backend": {"pg": backend}}}))
    denied = plain_terraform(house, tmp_path, "auto", "init")
    assert denied.returncode and "permission denied for schema state_production_auto_deals" in denied.stderr, denied.stderr


def test_plain_terraform_works_in_a_stacks_folder(house: LocalHouse) -> None:
    folder = house.work.output / "stacks" / "auto"
    begun = plain_terraform(house, folder, "auto", "init", "-input=false")
    assert begun.returncode == 0, begun.stderr
    done = plain_terraform(house, folder, "auto", "plan", "-input=false", "-detailed-exitcode", "-lock=false")
    assert done.returncode == 0, done.stdout + done.stderr


def plain_terraform(house: LocalHouse, folder: Path, tenant: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = house.settings.home / "infra" / "local" / "production" / "provider" / "terraform.rc"
    variables = {"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": str(config), "PGPASSFILE": str(house.state_file(tenant))}
    command = [*find_terraform().command, *arguments, "-no-color"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_what_somebody_changes_by_hand_is_found_and_the_next_apply_repairs_it(house: LocalHouse) -> None:
    store, bucket = house.client("s3"), house.bucket("auto")
    store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    store.delete_bucket_encryption(Bucket=bucket)
    store.delete_bucket_lifecycle(Bucket=bucket)
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}
    house.client("iam").put_user_policy(UserName="brandhouse-production-auto-worker", PolicyName="worker", PolicyDocument=json.dumps(wide))
    as_operator(house, "ALTER ROLE brand_production_auto CREATEDB; GRANT brand_production_auto_deals TO brand_production_auto")
    as_operator(house, "GRANT USAGE ON SCHEMA brand_production_auto TO PUBLIC")
    house.client("s3", "auto").list_objects_v2(Bucket=house.bucket("auto_deals"))  # the widened policy really opens it
    assert house.differing("auto") == {
        "update aws_iam_user_policy.worker",
        "update aws_s3_bucket_versioning.data",
        "create aws_s3_bucket_server_side_encryption_configuration.data",
        "create aws_s3_bucket_lifecycle_configuration.data",
        "update local_postgres_role.own",
        "update local_postgres_schema.own",
    }
    assert house.differing("auto_deals") == set(), "drift of one brand shows in another"
    house.deploy("auto")
    assert house.differing("auto") == set()
    assert store.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert is_denied(lambda: house.client("s3", "auto").list_objects_v2(Bucket=house.bucket("auto_deals")))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_brand(house, "auto", "SET ROLE brand_production_auto_deals")


def test_a_key_or_password_that_got_lost_is_made_anew_and_the_old_one_is_dead(house: LocalHouse) -> None:
    old = house.client("s3", "auto")
    for what in ("store", "database"):
        (house.settings.home / "secrets" / f"auto.{what}.env").unlink()
    assert house.differing("auto") == {"create local_access_key.worker", "create local_postgres_role.own"}
    house.deploy("auto")
    assert is_denied(lambda: old.list_objects_v2(Bucket=house.bucket("auto")))
    house.client("s3", "auto").list_objects_v2(Bucket=house.bucket("auto"))
    assert as_brand(house, "auto", "SELECT current_user::text") == [("brand_production_auto",)]


def test_no_secret_is_in_state_stack_or_saved_plan(house: LocalHouse) -> None:
    secrets = [house.secrets("auto", "store")["AWS_SECRET_ACCESS_KEY"], house.secrets("auto", "database")["DATABASE_URL"]]
    secrets += [secrets[1].split(":")[2].partition("@")[0], house.operator.store_secret, house.operator.database_password]
    secrets.append(house.state_file("auto").read_text().strip().rpartition(":")[2])
    folder = house.work.output / "stacks" / "auto"
    house.plan("auto")
    plan = subprocess.run(
        [*find_terraform().command, "show", "-json", "saved.tfplan"], cwd=folder, capture_output=True, text=True, check=False
    ).stdout
    written = [state_of(house, "auto"), (folder / "cdk.tf.json").read_text(), plan, json.dumps([str(one) for one in house.entries])]
    assert not [index for secret in secrets for index, text in enumerate(written) if secret in text]
    private = [*(house.settings.home / "secrets").glob("*.env"), house.state_file("auto"), operator_file(house.settings, "production")]
    assert len(private) == 6 and {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_locked_state_is_told_and_holds_up_nobody_else(house: LocalHouse) -> None:
    user = "deployer_production_auto"
    with psycopg.connect(**house.environment.local.connection, user=user, passfile=str(house.state_file("auto"))) as other:
        other.execute("SELECT pg_advisory_lock(id) FROM state_production_auto.states")
        with pytest.raises(StateLockedError, match="auto: the state is locked"):
            house.plan("auto")
        house.plan("auto_deals")
    assert str(house.plan("auto").plan) == "no changes", "the lock did not end with its process"


def test_a_store_that_goes_down_in_the_middle_leaves_a_stack_that_the_next_apply_finishes(house: LocalHouse) -> None:
    write_brand(house.settings.root, "casa")
    house.plan("casa")
    house.services.stop_store()
    try:
        with pytest.raises(HalfAppliedError) as raised:
            house.deployment.apply("casa")
        assert set(raised.value.done) == {"local_postgres_role.own", "local_postgres_schema.own"}
        assert "could not connect to the store" in str(raised.value)
        with pytest.raises(StoreDownError, match="auto: terraform plan could not reach"):
            house.plan("auto")
    finally:
        house.services.start_store()
    assert str(house.plan("casa").plan) == "7 to add"
    house.deployment.apply("casa")
    assert house.differing("casa") == set() and house.differing("auto") == set()


def test_a_stack_whose_state_is_lost_is_taken_over_and_not_made_twice(house: LocalHouse) -> None:
    store, bucket = house.client("s3", "auto"), house.bucket("auto")
    store.put_object(Bucket=bucket, Key="dvc/kept", Body=b"kept")
    as_operator(house, "DELETE FROM state_production_auto.states")
    assert str(house.plan("auto").plan) == "9 to add"
    house.deployment.apply("auto")
    assert house.client("s3", "auto").get_object(Bucket=bucket, Key="dvc/kept")["Body"].read() == b"kept"
    keys = house.client("iam").list_access_keys(UserName="brandhouse-production-auto-worker")["AccessKeyMetadata"]
    assert len(keys) == 1, "a key that nobody knows is left"
    assert house.differing("auto") == set()


def test_a_bucket_of_somebody_else_is_not_taken_over(house: LocalHouse) -> None:
    write_brand(house.settings.root, "villa")
    house.client("s3").create_bucket(Bucket=house.bucket("villa"))
    house.client("s3").put_object(Bucket=house.bucket("villa"), Key="theirs", Body=b"x")
    house.plan("villa")
    with pytest.raises(HalfAppliedError, match="is there and not of this brand"):
        house.deployment.apply("villa")


def test_a_database_that_is_down_is_told_and_nothing_is_lost(house: LocalHouse) -> None:
    house.services.database.stop()
    try:
        with pytest.raises(DatabaseDownError, match=r"could not connect to PostgreSQL at 127\.0\.0\.1"):
            house.plan("auto")
    finally:
        house.services.database.start()
    assert str(house.plan("auto").plan) == "no changes"


def test_missing_or_open_credentials_of_the_operator_are_told(house: LocalHouse) -> None:
    path = operator_file(house.settings, "production")
    path.chmod(0o644)
    write_brand(house.settings.root, "hut")
    with pytest.raises(OperatorError, match="can be read by others"):
        house.plan("hut")
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(OperatorError, match="local-services"):
            house.plan("hut")
    finally:
        path.with_suffix(".away").rename(path)
        path.chmod(0o600)


def test_a_stack_ends_only_with_a_leaving_brand_and_without_data_and_the_other_brand_stays(house: LocalHouse) -> None:
    bucket, root = house.bucket("auto_deals"), house.settings.root
    house.client("s3", "auto_deals").put_object(Bucket=bucket, Key="dvc/last", Body=b"x")
    other, theirs = state_of(house, "auto"), sha256_of(house.work.output / "stacks" / "auto" / "cdk.tf.json")
    with pytest.raises(PlanRefusedError, match="leaving = true"):
        house.deployment.destroy("auto_deals", confirmed="auto_deals")
    write_brand(root, "auto_deals", leaving=True)
    with pytest.raises(PlanRefusedError, match="--confirm auto_deals"):
        house.deployment.destroy("auto_deals", confirmed="auto")
    with pytest.raises(NoPlanError, match=f"objects in bucket {bucket}"):
        house.deployment.destroy("auto_deals", confirmed="auto_deals")
    empty(house, bucket)
    as_brand(house, "auto_deals", "CREATE TABLE brand_production_auto_deals.rows (one int)")
    with pytest.raises(NoPlanError, match=r"1 table\(s\) in schema brand_production_auto_deals"):
        house.deployment.destroy("auto_deals", confirmed="auto_deals")
    house.client("s3", "auto_deals").list_objects_v2(Bucket=bucket)  # a refusal took nothing
    as_brand(house, "auto_deals", "DROP TABLE brand_production_auto_deals.rows")
    assert set(house.deployment.destroy("auto_deals", confirmed="auto_deals").done) == ALL
    assert house.entries[-1].state == "destroyed"
    assert not house.secrets("auto_deals", "store") and not house.secrets("auto_deals", "database")
    assert is_gone(house, bucket)
    assert state_of(house, "auto") == other
    assert sha256_of(house.work.output / "stacks" / "auto" / "cdk.tf.json") == theirs
    assert house.differing("auto") == set()


def empty(house: LocalHouse, bucket: str) -> None:
    store = house.client("s3")
    found = store.list_object_versions(Bucket=bucket)
    for version in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())):
        store.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def is_gone(house: LocalHouse, bucket: str) -> bool:
    try:
        house.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    return False
