"""Mirror a model's runs and versions to an MLflow server, from the ledger, so that people find them in its interface.

The ledger is the outbox: what the server lacks is what is sent, oldest first. So nothing is lost while it is away, a run
is written once however often this is repeated, and a mirror that is switched on late catches up. The mirror is read by
people only: nothing of the platform ever reads it back.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from brandhouse_flows.experiments import Experiment, list_experiments
from brandhouse_flows.mlflow_client import MirrorAwayError, MirrorError, MlflowServer, find_credentials
from brandhouse_flows.run_details import find_details
from brandhouse_shared.artifacts import CARD_HTML_FILE, MANIFEST_FILE, ONNX_FILE, SKOPS_FILE, ArtifactStore
from brandhouse_shared.brands import brand_folders
from brandhouse_shared.errors import ArtifactCorruptError, BrandhouseError
from brandhouse_shared.ledger.ledger import Ledger
from brandhouse_shared.ledger.records import RunResult, Version
from brandhouse_shared.names import ModelKey
from brandhouse_shared.settings import Settings

AFTER_RUN_SECONDS = 15.0
"""Longest that a run waits for the mirror after its end. What is not written by then, the next run or `mlflow sync` writes."""

AWAY_SECONDS = 60.0
"""How long nobody knocks again after the server did not answer, so that training many models waits once and not for each."""

SYNC_SECONDS = 600.0
PRODUCTION_ALIAS = "production"
_RUN_TAG, _OUTCOME_TAG, _VERSION_TAG = "brandhouse.run_id", "brandhouse.mirrored", "brandhouse.version"
_STATUS = {"failed": "FAILED", "crashed": "FAILED", "cancelled": "KILLED"}
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]+", re.ASCII)
_RESERVED = frozenset({"workspaces", "api", "ajax-api", "static-files", "default"})
_FOLDER = "mlflow"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one synchronisation wrote."""

    runs: int = 0
    versions: int = 0


def mirror_after_run(settings: Settings, ledger: Ledger, store: ArtifactStore, key: ModelKey) -> None:
    """Mirror a model after one of its runs, if a server is set; a server that is away, slow or refusing is only logged."""
    if settings.mlflow_url is None or _is_known_to_be_away(settings):
        return
    try:
        sync_model(settings, ledger, store, key, AFTER_RUN_SECONDS)
    except MirrorAwayError as error:
        _remember_away(settings)
        _log.warning("%s: not mirrored yet: %s", key, error)
    except BrandhouseError as error:
        _log.warning("%s: not mirrored: %s; `brandhouse mlflow sync %s` tries again", key, error, key)


def sync_model(settings: Settings, ledger: Ledger, store: ArtifactStore, key: ModelKey, seconds: float = SYNC_SECONDS) -> Mirrored:
    """Write to the server what it lacks of a model: ended runs, versions, which one is in production.

    Another process that is at it for the same model is left to do it.

    Raises:
        MirrorAwayError: If the server does not answer in time; what was written stays, the rest is written next time.
        MirrorError: If no server is set, or it refuses.
    """
    if settings.mlflow_url is None:
        raise MirrorError("no MLflow server is set; set BRANDHOUSE_MLFLOW_URL, such as http://127.0.0.1:5000")
    known_brands = [folder.name for folder in brand_folders(settings.brands_dir)]
    credentials = find_credentials(key.brand, known_brands, os.environ)
    with _turn(settings, key) as is_ours, MlflowServer(settings.mlflow_url, credentials, seconds=seconds) as server:
        if not is_ours:
            return Mirrored()
        try:
            return _Mirror(settings, ledger, store, key, server).sync()
        except (KeyError, TypeError) as error:
            raise MirrorError(f"the MLflow server {server.name} gives an answer of unknown form ({type(error).__name__})") from error


def workspace_of(brand: str) -> str:
    """The workspace of a brand: its name in the form that MLflow allows (no underscores). Different for different brands."""
    name = brand.replace("_", "-")
    if name.strip("-") == name and name not in _RESERVED:
        return name
    return f"{name.strip('-')}-{hashlib.sha256(brand.encode()).hexdigest()[:8]}"


class _Mirror:
    """One model's mirror."""

    def __init__(self, settings: Settings, ledger: Ledger, store: ArtifactStore, key: ModelKey, server: MlflowServer) -> None:
        self.settings, self.ledger, self.store, self.key, self.server = settings, ledger, store, key, server

    def sync(self) -> Mirrored:
        has_workspaces = self.server.enter_workspace(workspace_of(self.key.brand))
        experiment = self.server.find_experiment(self.key.model if has_workspaces else self.key.dotted)
        known = {_tags(run)[_RUN_TAG]: run for run in self.server.runs(experiment, _RUN_TAG)}
        ended = [one for one in reversed(list_experiments(self.ledger, self.key)) if one.run.outcome is not None]
        late = [one for one in ended if _tags(known.get(one.run_id)).get(_OUTCOME_TAG) != one.run.outcome]
        infos = {run_id: run["info"] for run_id, run in known.items()}
        for one in late:
            infos[one.run_id] = self._write_run(experiment, one, infos.get(one.run_id))
        return Mirrored(len(late), self._sync_versions(infos))

    # -- runs ----------------------------------------------------------------------------------------------------------

    def _write_run(self, experiment: str, one: Experiment, info: dict[str, Any] | None) -> dict[str, Any]:
        """Write one run whole. The tag that says so comes last: what was interrupted is written again."""
        record = one.run.record
        info = info or self.server.create_run(experiment, _run_name(one), _ms(record.started_at), {_RUN_TAG: one.run_id})
        run_id = str(info["run_id"])
        self.server.log(run_id, _params(one), self._metrics(one), _run_tags(one))
        self._upload_facts(info, one)
        ended = one.run.ended_at or record.started_at
        self.server.end_run(run_id, _STATUS.get(str(one.run.outcome), "FINISHED"), _ms(ended), {_OUTCOME_TAG: str(one.run.outcome)})
        return info

    def _metrics(self, one: Experiment) -> list[dict[str, Any]]:
        if one.result is None:
            return []
        at = _ms(one.run.ended_at or one.run.record.started_at)
        found = [{"key": name, "value": value, "timestamp": at, "step": 0} for name, value in _scores(one.result).items()]
        details = find_details(self.settings.home, self.key, one.result.details_digest)
        trials = enumerate(details.trials if details else (), start=1)
        scored = [(step, trial.score) for step, trial in trials if trial.score == trial.score]
        return found + [{"key": f"cv_{one.result.metric}", "value": score, "timestamp": at, "step": step} for step, score in scored]

    def _upload_facts(self, info: Mapping[str, Any], one: Experiment) -> None:
        if one.result is None or one.run.outcome == "unchanged":
            return
        details = find_details(self.settings.home, self.key, one.result.details_digest)
        documents: dict[str, Any] = {"gates.json": one.result.gates, "slices.json": one.result.slices}
        if details and details.trials:
            documents["trials.json"] = [
                {"candidate": trial.candidate, "params": trial.params, "score": trial.score if trial.score == trial.score else None}
                for trial in details.trials
            ]
        for name, document in documents.items():
            self.server.upload(info["artifact_uri"], name, json.dumps(document, indent=1).encode())
        folder = self._artifact(one.version) if one.version else None
        if folder is not None and (folder / CARD_HTML_FILE).is_file():
            self.server.upload(info["artifact_uri"], CARD_HTML_FILE, (folder / CARD_HTML_FILE).read_bytes())

    def _artifact(self, version: Version) -> Path | None:
        try:
            return self.store.find(self.key, version.record.artifact_digest)
        except ArtifactCorruptError:  # the mirror then shows the version without its files
            return None

    # -- versions ------------------------------------------------------------------------------------------------------

    def _sync_versions(self, infos: Mapping[str, Mapping[str, Any]]) -> int:
        versions = list(reversed(self.ledger.versions(self.key)))
        if not versions:
            return 0
        name = self.key.dotted
        model = self.server.find_model(name, f"{self.key.model} of {self.key.brand}, mirrored from the ledger")
        known = {_tags(one).get(_VERSION_TAG, ""): str(one["version"]) for one in self.server.versions(name)}
        missing = [one for one in versions if f"v{one.number}" not in known and one.record.run_id in infos]
        for one in missing:
            known[f"v{one.number}"] = self._write_version(name, one, infos[one.record.run_id])
        production = self.ledger.production(self.key)
        wanted = known.get(f"v{production.number}") if production else None
        aliases = {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}
        if aliases.get(PRODUCTION_ALIAS) != wanted:
            self.server.set_alias(name, PRODUCTION_ALIAS, wanted)
        return len(missing)

    def _write_version(self, name: str, version: Version, info: Mapping[str, Any]) -> str:
        """Upload the files that serve, then register them. Never a pickle: there is none; never held-out rows."""
        path, folder, record = f"models/v{version.number}", self._artifact(version), version.record
        files = [one for one in (ONNX_FILE, SKOPS_FILE, MANIFEST_FILE) if folder is not None and (folder / one).is_file()]
        for one in files:
            self.server.upload(info["artifact_uri"], f"{path}/{one}", (Path(str(folder)) / one).read_bytes())
        self.server.upload(info["artifact_uri"], f"{path}/MLmodel", _mlmodel(version, str(info["run_id"]), path, files).encode())
        tags = {
            _VERSION_TAG: f"v{version.number}",
            "brandhouse.kind": record.kind,
            "brandhouse.runtime": record.runtime,
            "brandhouse.gates": "passed" if record.gates_passed else "failed",
            "brandhouse.artifact": record.artifact_digest if files else f"{record.artifact_digest} (not on the mirroring machine)",
        }
        description = f"{version.key}: {record.metric} {record.score:.6g}, baseline {record.baseline_score:.6g}"
        return self.server.create_version(name, str(info["run_id"]), path, description, tags)


# -- what a run is in MLflow's words -----------------------------------------------------------------------------------


def _run_name(one: Experiment) -> str:
    return one.label if one.run.record.kind == "full" else f"{one.run.record.kind} {one.label}"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _tags(document: Mapping[str, Any] | None) -> dict[str, str]:
    """Tags of a run or a version as MLflow sends them."""
    if document is None:
        return {}
    pairs = document["data"].get("tags", []) if "data" in document else document.get("tags", [])
    return {pair["key"]: pair.get("value", "") for pair in pairs}


def _params(one: Experiment) -> dict[str, str]:
    if one.result is not None:
        return {"candidate": one.result.candidate_name, **{_named(name): str(value) for name, value in one.result.params.items()}}
    asked = one.run.record.asked or {}
    params = asked.get("params")
    return {_named(name): str(value) for name, value in params.items()} if isinstance(params, dict) else {}


def _run_tags(one: Experiment) -> dict[str, str]:
    record, result = one.run.record, one.result
    tags = {
        "mlflow.user": record.actor,
        "mlflow.note.content": (one.run.detail or "")[:5000],
        "mlflow.source.name": f"brandhouse {record.template.replace('/', ' ')}",  # MLflow shows what follows a slash
        "mlflow.source.git.commit": record.git_commit,
        "brandhouse.brand": record.key.brand,
        "brandhouse.model": record.key.model,
        "brandhouse.kind": record.kind,
        "brandhouse.outcome": str(one.run.outcome),
        "brandhouse.version": f"v{one.version.number}" if one.version else "",
        "brandhouse.uncommitted_changes": "" if one.git_dirty is None else str(one.git_dirty).lower(),
        "brandhouse.code_digest": one.code_digest or "",
        "brandhouse.lock_hash": one.lock_hash or "",
        "brandhouse.flow_run_url": record.flow_run_url or "",
    }
    if result is None:
        return tags
    return tags | {
        "brandhouse.data_hash": result.snapshot_hash,
        "brandhouse.dataset": result.snapshot_dataset,
        "brandhouse.estimator": result.estimator,
        "brandhouse.gates": "passed" if result.gates_passed else "failed",
    }


def _scores(result: RunResult) -> dict[str, float]:
    """Metrics with the ends of their intervals, of the whole and of every slice."""
    metric = result.metric
    found = {
        metric: result.score,
        f"{metric}_low": result.score_low,
        f"{metric}_high": result.score_high,
        f"{metric}_baseline": result.baseline_score,
        f"{metric}_production": result.production_score,
        "rows_train": float(result.rows_train),
        "rows_holdout": float(result.rows_holdout),
        "learning_seconds": result.learning_seconds,
    }
    for item in result.slices:
        name = _named(f"slice/{item.get('column')}/{item.get('value')}/{metric}")
        for end, value in (("", item.get("score")), ("_low", item.get("low")), ("_high", item.get("high"))):
            found[f"{name}{end}"] = float(value) if isinstance(value, int | float) else None
    return {name: value for name, value in found.items() if value is not None}


def _named(name: str) -> str:
    """A name of a param or metric as MLflow allows it; names that had to be changed stay different by a digest."""
    plain = "/".join(part.strip(" .") or "_" for part in _NOT_IN_NAMES.sub("_", name).split("/"))
    if plain == name and len(name) <= 200:
        return name
    return f"{plain[:180]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _mlmodel(version: Version, run_id: str, path: str, files: list[str]) -> str:
    """MLflow's description of a model folder. JSON is YAML. Only ONNX has a flavor: skops needs the brand's features before it."""
    flavors: dict[str, Any] = {"brandhouse": {"runtime": version.record.runtime, "version": str(version.key)}}
    if ONNX_FILE in files:
        flavors["onnx"] = {"data": ONNX_FILE, "code": None, "onnx_version": "", "providers": ["CPUExecutionProvider"]}
        flavors["python_function"] = {"loader_module": "mlflow.onnx", "data": ONNX_FILE, "python_version": ""}
    created = version.record.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    return json.dumps({"artifact_path": path, "run_id": run_id, "utc_time_created": created, "flavors": flavors}, indent=1)


# -- taking turns, and not knocking at a closed door -------------------------------------------------------------------


@contextmanager
def _turn(settings: Settings, key: ModelKey) -> Iterator[bool]:
    """Yield whether this process may mirror the model now; two at once would write runs twice."""
    path = settings.home / _FOLDER / f"{key.dotted}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _away_file(settings: Settings) -> Path:
    return settings.home / _FOLDER / "away"


def _is_known_to_be_away(settings: Settings) -> bool:
    try:
        return time.time() - _away_file(settings).stat().st_mtime < AWAY_SECONDS
    except OSError:
        return False


def _remember_away(settings: Settings) -> None:
    _away_file(settings).parent.mkdir(parents=True, exist_ok=True)
    _away_file(settings).touch()
