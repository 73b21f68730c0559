"""Fits the folds of a search on the workers of a Dask cluster. The only module that names Dask.

What is chosen does not depend on it: the same points are tried in the same order, on the same folds, and the chosen
candidate is fitted in the training's own process. A worker that is lost in the middle costs its folds' time (ADR 0010).
"""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from brandhouse_flows.fold_process import Job, Parcel, ShippedCode
from brandhouse_flows.fold_worker import score_fold_apart
from brandhouse_flows.planning import Plan
from brandhouse_flows.search import Attempt, Contest, FoldScore, FoldScorer, OpenScorer, score_here
from brandhouse_shared.brands import Brand, code_digest, read_code
from brandhouse_shared.config import Isolation
from brandhouse_shared.errors import BrandhouseError, DaskUnavailableError
from brandhouse_shared.settings import Settings

CONNECT_SECONDS = 10.0
WORKER_SECONDS = 30.0
"""A cluster that scales with its work needs a moment for its first worker."""

ROUNDS = 4
"""Times that folds whose workers are gone, with the data they held, are given out again. A single lost worker needs none of
them: the scheduler itself gives its folds to another."""

Client = Any
"""A `distributed.Client`, whose functions carry no types; so do its futures."""

Future = Any
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


def choose_scorer(plan: Plan) -> OpenScorer:
    """Return what fits the folds of a training: its own process, or the cluster that the settings name for its brand."""
    address = find_address(plan.settings, plan.brand)
    return partial(open_dask_scorer, plan, address) if address else score_here


def find_address(settings: Settings, brand: Brand) -> str:
    """The scheduler for a brand; empty if it trains without one. A silo brand never shares the others' cluster."""
    own = settings.silo_dask_addresses.get(brand.name, "")
    if own or brand.config.isolation is Isolation.SILO:
        return own
    return settings.dask_address


@contextmanager
def open_dask_scorer(plan: Plan, address: str, contest: Contest) -> Iterator[FoldScorer]:
    """Connect, hand the training rows to the workers, and let go of both at the end.

    Raises:
        DaskUnavailableError: If no scheduler answers, or it has no worker; a later try may find them.
        BrandhouseError: If Dask is not installed, the address is refused, or certificates are missing.
    """
    with ExitStack() as stack:
        client = _connect(stack, plan, address)
        yield DaskScorer(client, _pack(plan, contest), plan, address, len(contest.folds))


def _connect(stack: ExitStack, plan: Plan, address: str) -> Client:
    _require_private(plan, address)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise BrandhouseError(
            f"{plan.key}: BRANDHOUSE_DASK_ADDRESS is set and prefect-dask is not installed; install brandhouse-flows[dask], or unset it"
        ) from error
    known = {"timeout": CONNECT_SECONDS, "security": _security(plan, address), "name": f"{plan.key}-{plan.run_id}"}
    runner = DaskTaskRunner(address=address, client_kwargs=known)
    try:
        return stack.enter_context(runner).client
    except OSError as error:  # timeouts are among them
        raise DaskUnavailableError(plan.key, address, f"does not answer within {CONNECT_SECONDS:.0f} s") from error


def _require_private(plan: Plan, address: str) -> None:
    """Refuse a cluster that anyone on the network could use: without TLS, Dask runs whatever code it is sent."""
    parts = urlsplit(address)
    if parts.scheme == "tls" or (parts.scheme == "tcp" and _is_loopback(parts.hostname or "")):
        return
    raise BrandhouseError(
        f"{plan.key}: the Dask address {address[:200]!r} is refused; allowed: tcp://127.0.0.1:PORT on this machine, or "
        "tls://HOST:PORT with certificates (BRANDHOUSE_DASK_TLS_DIR), since Dask without TLS runs anyone's code"
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _security(plan: Plan, address: str) -> Any:
    if not address.startswith("tls://"):
        return None
    from distributed.security import Security

    ca, cert, key = _certificates(plan)
    return Security(  # type: ignore[no-untyped-call]
        tls_ca_file=str(ca), tls_client_cert=str(cert), tls_client_key=str(key), require_encryption=True
    )


def _certificates(plan: Plan) -> list[Path]:
    folder = plan.settings.dask_tls_dir
    if folder is None:
        raise BrandhouseError(f"{plan.key}: a tls:// address needs certificates; set BRANDHOUSE_DASK_TLS_DIR to their folder")
    own = folder / plan.brand.name
    files = [(own if own.is_dir() else folder) / name for name in TLS_FILES]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise BrandhouseError(f"{plan.key}: BRANDHOUSE_DASK_TLS_DIR lacks {', '.join(missing)}; allowed: {', '.join(TLS_FILES)}")
    return files


def _pack(plan: Plan, contest: Contest) -> bytes:
    files = {path: content.decode() for path, content in sorted(read_code(plan.brand).items())}
    if code_digest(plan.brand) != plan.code_digest:
        raise BrandhouseError(f"{plan.key}: the brand's code was changed while the model was trained; train again")
    code = ShippedCode(str(plan.key), plan.brand.name, plan.model.entrypoint, files)
    return pickle.dumps(Parcel(code, contest.model, contest.rows, contest.folds, contest.subject))


class DaskScorer:
    """Gives folds to a cluster and collects their scores in order."""

    def __init__(self, client: Client, parcel: bytes, plan: Plan, address: str, folds: int) -> None:
        self._client = client
        self._parcel = parcel
        # By content: a run that is tried again after its brand was edited must not meet processes of its first try.
        self._training = f"{plan.run_id}-{hashlib.sha256(parcel).hexdigest()[:16]}"
        self._plan = plan
        self._address = address
        self._folds = folds
        self._given = 0
        self._held: Future = None

    @property
    def at_once(self) -> int:
        """One attempt a thread of the cluster: their folds keep all threads busy to the end."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def score(self, attempts: Sequence[Attempt]) -> list[list[FoldScore]]:
        """Return the scores of all folds of each attempt.

        Raises:
            DaskUnavailableError: If workers or scheduler are lost and do not come back.
            BrandhouseError: If a fold cannot be fitted on the cluster at all.
        """
        jobs = [Job(attempt.candidate, attempt.params, fold) for attempt in attempts for fold in range(self._folds)]
        scored: dict[int, FoldScore] = {}
        for _ in range(ROUNDS):
            scored |= self._round({number: job for number, job in enumerate(jobs) if number not in scored})
            if len(scored) == len(jobs):
                return [[scored[start + fold] for fold in range(self._folds)] for start in range(0, len(jobs), self._folds)]
            self._held = None  # whoever held the rows may be gone
        raise DaskUnavailableError(self._plan.key, self._address, f"lost its workers {ROUNDS} times")

    def _round(self, jobs: dict[int, Job]) -> dict[int, FoldScore]:
        """Give jobs out once; those that are lost with their workers are not in the result."""
        from distributed import CancelledError, wait

        try:
            futures = {number: self._submit(job) for number, job in jobs.items()}
            with self._client.as_current():
                wait(list(futures.values()))  # type: ignore[no-untyped-call]
        except CancelledError:
            return {}
        except OSError as error:  # of Dask's, all errors of a connection are one
            raise DaskUnavailableError(self._plan.key, self._address, "went away in the middle of a search") from error
        return {number: self._result(future) for number, future in futures.items() if future.status in ("finished", "error")}

    def _submit(self, job: Job) -> Future:
        if self._held is None:
            self._require_worker()
            self._held = self._client.scatter([self._parcel], broadcast=True, hash=False)[0]
        self._given += 1
        name = f"{self._plan.key}-{self._training}-{job.candidate}-{self._given}"
        return self._client.submit(score_fold_apart, self._held, self._training, asdict(job), key=name, pure=False)

    def _require_worker(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise DaskUnavailableError(self._plan.key, self._address, f"has no worker after {WORKER_SECONDS:.0f} s") from error

    def _result(self, future: Future) -> FoldScore:
        from distributed import KilledWorker

        try:
            return FoldScore(**future.result())
        except KilledWorker as error:
            raise BrandhouseError(
                f"{self._plan.key}: every Dask worker that took one fold died of it ({str(error)[:200]}); usually too little memory: "
                "give the workers more, or unset BRANDHOUSE_DASK_ADDRESS"
            ) from error
        except BrandhouseError as error:
            raise BrandhouseError(f"{self._plan.key}: on the Dask cluster at {self._address}: {error}") from error
