"""The home that gateway and worker share: artifacts, journals, caches. A file system with the tenant's own key."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.constructs.tasks import NFS_PORT, USER, add_group, let_in
from brandhouse_infra.policies import Statement, policy_json
from brandhouse_infra.site import Place


def add_home(
    blocks: Blocks, place: Place, key: Reference, *, network: str, subnets: list[str], users: list[str]
) -> tuple[Reference, Reference, Reference]:
    """Add the file system, its point of access and its security group.

    Args:
        blocks: The stack's.
        place: Whose home it is.
        key: Encrypts it.
        network: Id of the network.
        subnets: Ids of the subnets in which it is mounted, one a zone.
        users: ARNs of the roles that may mount it.

    Returns:
        File system, access point, security group.
    """
    home = blocks.resource(
        "aws_efs_file_system", "home", tagged=True, keep=True, encrypted=True, kms_key_id=key.arn, throughput_mode="elastic"
    )
    blocks.resource("aws_efs_backup_policy", "home", file_system_id=home.id, backup_policy={"status": "ENABLED"})
    blocks.resource("aws_efs_file_system_policy", "home", file_system_id=home.id, policy=_policy(place, users))
    group = add_group(blocks, place, "home", network, f"The home of {place.tenant}")
    for index, subnet in enumerate(subnets):
        blocks.resource("aws_efs_mount_target", f"home_{index}", file_system_id=home.id, subnet_id=subnet, security_groups=[group.id])
    owner = {"uid": USER, "gid": USER}
    point = blocks.resource(
        "aws_efs_access_point",
        "home",
        tagged=True,
        file_system_id=home.id,
        posix_user=owner,
        root_directory={"path": f"/{place.slug}", "creation_info": {"owner_uid": USER, "owner_gid": USER, "permissions": "0750"}},
    )
    return home, point, group


def let_mount(blocks: Blocks, name: str, home_group: Reference, source: Reference) -> None:
    """Let a process reach the home."""
    let_in(blocks, f"home_{name}", home_group, NFS_PORT, source.id, f"{name} mounts the home")


def mount_statement(place: Place) -> Statement:
    """Let a role mount the tenant's home; which one is its own is the file system's policy, since its id is not known before."""
    actions = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    tagged = {"StringEquals": {"aws:ResourceTag/brand": place.tenant}}
    return Statement("MountOwnHome", actions, [place.arn("elasticfilesystem", "file-system/*")], conditions=tagged)


def _policy(place: Place, users: list[str]) -> str:
    mounting = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    through = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}
    # In a file system's policy `*` is the file system itself.
    return policy_json(
        Statement("Own", mounting, ["*"], principals={"AWS": users}, conditions=through),
        Statement("OnlyTls", ["*"], ["*"], effect="Deny", principals="*", conditions={"Bool": {"aws:SecureTransport": "false"}}),
    )
