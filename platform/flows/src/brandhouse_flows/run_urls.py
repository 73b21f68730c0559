"""Where a flow run is looked at."""

import os


def url_of_run(run_id: str) -> str:
    """URL of a run in the Prefect UI of the server this process talks to; `local` without a server."""
    api = os.environ.get("PREFECT_API_URL", "")
    if not api:
        return "local"
    return f"{api.removesuffix('/').removesuffix('/api')}/runs/flow-run/{run_id}"
