"""Where what a brand's processes say is kept, and for how long."""

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.site import Place

DAYS = 400
"""A year and a month, to compare with the year before; AWS sells only some numbers, this is one."""

PROCESSES = ("serving", "worker")


def add_logs(blocks: Blocks, place: Place, key: Reference, processes: tuple[str, ...] = PROCESSES) -> None:
    """Add one log group a process."""
    for process in processes:
        group = log_group(place, process)
        blocks.resource("aws_cloudwatch_log_group", process, tagged=True, name=group, retention_in_days=DAYS, kms_key_id=key.arn)


def log_group(place: Place, process: str) -> str:
    """Name of the group of a process."""
    return f"/{place.path}/{process}"
