"""What a brand's data project is told: what is committed, what a machine keeps for commands by hand, and what holds for one run."""

import os
from pathlib import Path
from typing import Any

from brandhouse_flows.remotes import remote_credentials

COMMITTED_CONFIG = "# Cache, remote and credentials differ from machine to machine: config.local and the environment hold them.\n"


def run_config(home: Path, brand: str, cache_dir: Path, remote: str) -> dict[str, Any]:
    """The configuration of one run, credentials of the brand's own included; never written to disk."""
    return {
        "core": {
            "remote": "brand",
            "no_scm": True,
            "analytics": False,
            "check_update": False,
            "site_cache_dir": str(home / "cache" / "dvc-site"),
        },
        "cache": {"dir": str(cache_dir)},
        "remote": {"brand": {"url": remote, **remote_credentials(brand, remote, os.environ)}},
    }


def local_config_text(folder: Path, cache_dir: Path, remote: str) -> str:
    """For `dvc` commands typed in the brand's folder; holds no credentials."""
    in_git = any((place / ".git").exists() for place in (folder, *folder.parents))
    scm = "" if in_git else "    no_scm = true\n"
    return f"[core]\n    remote = brand\n{scm}[cache]\n    dir = {cache_dir}\n['remote \"brand\"']\n    url = {remote}\n"
