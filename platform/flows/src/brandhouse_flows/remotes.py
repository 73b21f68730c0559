"""Where a brand's snapshots are kept for good, and what opens that place: each brand's own, never another's."""

from collections.abc import Mapping

from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import DatasetError
from brandhouse_shared.settings import Settings

REMOTE_SECRETS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_ENDPOINT_URL": "endpointurl",
    "AWS_REGION": "region",
    "REMOTE_USER": "user",
    "REMOTE_PASSWORD": "password",
}
"""What `BRANDHOUSE_SECRET_<BRAND>_<NAME>` sets in the remote. No name ends in another, so that brand `jobs` can never
read a variable of a brand `jobs_aws`."""


def remote_address(brand: Brand, settings: Settings) -> str:
    """The URL or absolute folder of a brand's remote.

    Raises:
        DatasetError: If it lies in the folder of another brand's default remote.
    """
    declared = brand.config.remote
    if declared and is_url(declared):
        return declared
    own = settings.home / "remotes" / brand.name
    address = (brand.folder / declared).resolve() if declared else own
    others = settings.home / "remotes"
    if address.is_relative_to(others) and not address.is_relative_to(own):
        raise DatasetError(f"{brand.name}: the remote {declared} lies among other brands' remotes; give it a place of its own")
    return str(address)


def remote_credentials(brand: str, remote: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment holds for this brand's remote or source, and for no other's; only what that kind of remote takes.

    Raises:
        DatasetError: If an S3 remote has no key of the brand's own: the machine's would open every brand's data.
    """
    prefix = f"BRANDHOUSE_SECRET_{brand.upper()}_"
    of_kind = "AWS_" if remote.startswith("s3://") else "REMOTE_"
    wanted = {name: option for name, option in REMOTE_SECRETS.items() if is_url(remote) and name.startswith(of_kind)}
    given = {option: environment[prefix + name] for name, option in wanted.items() if environment.get(prefix + name)}
    if remote.startswith("s3://") and not {"access_key_id", "secret_access_key"} <= given.keys():
        raise DatasetError(
            f"{brand}: {remote} is in S3, and the brand has no key; set {prefix}AWS_ACCESS_KEY_ID and {prefix}AWS_SECRET_ACCESS_KEY"
        )
    return given


def is_url(address: str) -> bool:
    """Whether a remote's address is one behind a network, not a folder."""
    return "://" in address
