"""Which event starts what, and that work goes on where nobody listens."""

import subprocess
import sys
from pathlib import Path

import pytest

from brandhouse_flows.events import dataset_resource, emit_check, emit_snapshot, model_resource, trigger_of


@pytest.mark.parametrize(
    ("check", "trigger"),
    [
        ("drift", "drift"),
        ("drift.area", "drift"),
        ("prediction_drift", "drift"),
        ("quality", "quality"),
        ("staleness", "staleness"),
        ("skew", "none"),
        ("driftwood", "none"),
        ("volume", "none"),
    ],
)
def test_only_what_training_may_mend_is_a_trigger(check: str, trigger: str) -> None:
    assert trigger_of(check) == trigger


def test_resources_name_brand_and_thing() -> None:
    assert model_resource("casa", "price") == "brandhouse.model.casa.price"
    assert dataset_resource("casa", "homes") == "brandhouse.dataset.casa.homes"


def test_without_a_server_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert emit_snapshot("casa", "homes", "0" * 32, 400) is False
    assert emit_check("casa", "price", "drift", state="red", detail="d") is False


def test_a_server_that_is_away_fails_nothing(tmp_path: Path) -> None:
    code = "from brandhouse_flows.events import emit_snapshot; assert emit_snapshot('casa', 'homes', '0' * 32, 400) is False"
    variables = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_CLIENT_MAX_RETRIES": "0",
        "PATH": "",
        "HOME": str(tmp_path),
        "no_proxy": "*",
    }
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the Prefect server is away: ConnectError" in done.stderr
