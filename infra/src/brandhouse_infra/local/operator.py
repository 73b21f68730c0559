"""Who makes buckets, users, roles and schemas: the operator of store and database. A file that only its owner can read.

No stack, state, message or child of Terraform's sees it: the provider's process reads it by itself.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from brandhouse_infra.errors import InfraError
from brandhouse_shared.settings import Settings

FILE = "operator.json"


class OperatorError(InfraError):
    """The operator's credentials are missing, cannot be read, or others can read them."""


@dataclass(frozen=True, slots=True, repr=False)
class Operator:
    """Credentials of whoever may do everything in store and database."""

    store_key: str
    store_secret: str
    database_user: str
    database_password: str


def operator_file(settings: Settings, environment: str) -> Path:
    """Where the credentials of an environment lie."""
    return settings.home / "infra" / "local" / environment / FILE


def read_operator(path: Path) -> Operator:
    """Read the credentials.

    Raises:
        OperatorError: If there are none, they are not of this form, or other users of the machine can read them.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise OperatorError(f"{path} can be read by others; run `chmod 600` on it, and change what is in it")
        return Operator(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise OperatorError(
            f"{path} does not exist: it holds who may make buckets and roles. `brandhouse infra local-services` writes it with a store "
            "and a database of this machine; for others, write it yourself (docs/infrastructure.md)"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        fields = ", ".join(Operator.__dataclass_fields__)
        raise OperatorError(f"{path} cannot be read ({type(error).__name__}); it is a JSON object of texts: {fields}") from error


def ensure_operator(path: Path) -> Operator:
    """Read the credentials, or make some for a store and a database that are to be started."""
    if not path.is_file():
        operator = Operator(f"OP{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30), "postgres", secrets.token_urlsafe(30))
        write_private(path, json.dumps(asdict(operator)))
    return read_operator(path)


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, at no moment; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
