"""The process that Terraform speaks with: `python -m brandhouse_infra.providers.schema_replica SCHEMA_FILE [--reattach]`."""

import sys
from pathlib import Path

from brandhouse_infra.providers.process import serve
from brandhouse_infra.providers.schema_replica.schema_files import load_replica

if __name__ == "__main__":
    serve(load_replica(Path(sys.argv[1])))
