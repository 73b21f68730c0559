"""A brand's own identity on AWS, taken on for one run: keys that end by themselves, and what its entry of secrets holds.

The worker's own identity stays with the worker: a run gets the variables of its brand and nothing that could name another's.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from brandhouse_flows.brand_secrets import secrets_of
from brandhouse_shared.declarations import SECRET_PREFIX
from brandhouse_shared.errors import BrandhouseError, RetryableError
from brandhouse_shared.settings import Settings
from brandhouse_shared.slugs import slug_of

OWN = "own"
"""Setting of a worker that is the brand's role itself."""

_PASSING = ("ExpiredToken", "InternalError", "InternalServiceError", "RequestLimitExceeded", "ServiceUnavailable", "Throttling")


class BrandRoleError(BrandhouseError):
    """A brand's role cannot be taken on, or its entry of secrets cannot be read."""


def borrow_secrets(brand: str, known_brands: Iterable[str], settings: Settings) -> dict[str, str]:
    """The variables of a brand that its role opens: keys for its remote, and those of its own in its entry.

    Args:
        brand: Whose run it is.
        known_brands: All brands: a variable belongs to the longest name that fits.
        settings: `brand_role` and `brand_secrets`.

    Returns:
        Variables by name; none where no role is set.

    Raises:
        BrandRoleError: If AWS denies, or the entry is no JSON object of texts.
        RetryableError: If AWS does not answer.
    """
    if not settings.brand_role:
        return {}
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise BrandRoleError(f"{brand}: taking on its role needs an extra; install brandhouse-flows[s3]") from None
    session = botocore.session.get_session()
    slug = slug_of(brand)
    try:
        keys = _keys(session, settings.brand_role, slug)
        entry = _entry(session, settings.brand_secrets.replace("{slug}", slug), keys) if settings.brand_secrets else {}
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code.startswith(_PASSING):
            raise RetryableError(f"{brand}: AWS cannot answer at present ({code})", retry_after_seconds=10.0) from None
        raise BrandRoleError(
            f"{brand}: AWS denied its role or its entry of secrets ({code}); plan and apply its stack, and see whom its role trusts"
        ) from None
    except BotoCoreError as error:
        raise RetryableError(f"{brand}: AWS does not answer ({type(error).__name__})", retry_after_seconds=10.0) from None
    except ValueError:
        raise BrandRoleError(f"{brand}: its entry of secrets is no JSON object whose values are texts; it is not shown") from None
    region = session.get_config_variable("region")
    named = {f"{SECRET_PREFIX}{brand.upper()}_AWS_{name}": value for name, value in {**keys, "REGION": region}.items() if value}
    return named | secrets_of(brand, known_brands, entry)


def _keys(session: Any, role: str, slug: str) -> dict[str, str | None]:
    if role == OWN:
        found = session.get_credentials()
        if found is None:
            return {}
        own = found.get_frozen_credentials()
        return {"ACCESS_KEY_ID": own.access_key, "SECRET_ACCESS_KEY": own.secret_key, "SESSION_TOKEN": own.token}
    answer = session.create_client("sts").assume_role(RoleArn=role.replace("{slug}", slug), RoleSessionName=slug)
    lent = answer["Credentials"]
    return {"ACCESS_KEY_ID": lent["AccessKeyId"], "SECRET_ACCESS_KEY": lent["SecretAccessKey"], "SESSION_TOKEN": lent["SessionToken"]}


def _entry(session: Any, name: str, keys: Mapping[str, str | None]) -> dict[str, str]:
    """What the entry holds; nothing where nobody has put anything in yet."""
    client = session.create_client(
        "secretsmanager",
        aws_access_key_id=keys.get("ACCESS_KEY_ID"),
        aws_secret_access_key=keys.get("SECRET_ACCESS_KEY"),
        aws_session_token=keys.get("SESSION_TOKEN"),
    )
    try:
        document = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return {}
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise ValueError(name)
    return document
