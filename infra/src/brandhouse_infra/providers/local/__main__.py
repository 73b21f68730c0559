"""The process that Terraform speaks with: `python -m brandhouse_infra.providers.local OPERATOR_FILE HOME [--reattach]`."""

import sys
from pathlib import Path

from brandhouse_infra.providers.local.provider import LocalProvider
from brandhouse_infra.providers.process import serve

if __name__ == "__main__":
    serve(LocalProvider(Path(sys.argv[1]), Path(sys.argv[2])))
