"""How Terraform finds a provider of ours: a folder laid out as a mirror, with a script in it, and a configuration that names it.

For people who run `terraform` in a stack's folder; our own runs start one process for all of them (`sessions`).
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

HOST = "registry.terraform.io"
"""What Terraform puts before a provider's name that has no host; nothing is fetched from there."""

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def write_mirror(folder: Path, source: str, version: str, arguments: Sequence[str]) -> Path:
    """Write a mirror with one provider and the configuration that names it; return the configuration's path.

    Args:
        folder: Of the mirror.
        source: Such as `hashicorp/aws`.
        version: Such as `6.69.1`.
        arguments: Of this Python: what starts the provider.
    """
    name = source.rpartition("/")[2]
    script = folder / "mirror" / HOST / source / version / _system() / f"terraform-provider-{name}_v{version}"
    quoted = " ".join(f"'{part}'" for part in (sys.executable, *arguments))
    _write(script, f'#!/bin/sh\nexec {quoted} "$@"\n', mode=0o755)
    config = folder / "terraform.rc"
    mirror = str(folder / "mirror").replace("\\", "\\\\").replace('"', '\\"')
    # No other way of installation is named, so that nothing is asked for on any network.
    _write(config, f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    return config


def _system() -> str:
    return f"{sys.platform}_{_MACHINES.get(platform.machine(), platform.machine())}"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(mode)
    scratch.replace(path)
