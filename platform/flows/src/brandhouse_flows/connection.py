"""Reaching the Prefect server of this machine, and how Prefect's client behaves while it is away.

Prefect gives up after about a minute, waits twice as long each time, and does not retry at all before a client's first
success. A run must outlast a server that is restarted or upgraded, and go on soon after it is back.
"""

from typing import Any

import prefect.client.base as client_base
from prefect.client.orchestration import PrefectClient
from prefect.utilities.math import clamped_poisson_interval


def open_client(port: int) -> PrefectClient:
    """A client of this machine's server, whatever the environment says. An asynchronous context manager."""
    return PrefectClient(f"http://127.0.0.1:{port}/api")


def outlast_outages(longest_wait_seconds: float) -> None:
    """Let every Prefect client of this process retry refused connections, waiting at most so long between tries.

    How often is Prefect's own setting `PREFECT_CLIENT_MAX_RETRIES`. Affects the whole process.
    """

    def capped(average_interval: float, clamping_factor: float = 0.3) -> float:
        return clamped_poisson_interval(min(average_interval, longest_wait_seconds), clamping_factor)

    setattr(client_base, "clamped_poisson_interval", capped)  # noqa: B010 - the name is not declared as exported
    for client in (client_base.PrefectHttpxAsyncClient, client_base.PrefectHttpxSyncClient):
        # The client retries refused connections only after it was connected once; a new one is made for each purpose.
        setattr(client, "_has_connected", property(_always, _ignore))  # noqa: B010 - a property on a class that assigns it


def _always(_: Any) -> bool:
    return True


def _ignore(_: Any, __: Any) -> None:
    return None
