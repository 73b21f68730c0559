"""Runs listed and compared: what differs in params, scores, data, code and packages, and what may be noise."""

import json
import secrets
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest

from brandhouse_flows.experiments import UnknownRunError, find_experiment, list_experiments
from brandhouse_flows.learning import rehearse
from brandhouse_flows.planning import plan_training
from brandhouse_flows.run_comparison import RunComparison, compare_runs, diff_commands
from brandhouse_flows.run_page import render_runs
from brandhouse_flows.steps import call_step
from brandhouse_flows.wishes import Wishes
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.names import ModelKey

CASA = ModelKey("casa", "price")
TOML = "brands/casa/brand.toml"
CODE = "brands/casa/src/brand_casa/price.py"


def dry(workspace: Any, **params: Any) -> str:
    """Rehearse and return the run's id."""
    run_id = secrets.token_hex(16)
    plan = plan_training(workspace.settings, CASA, run_id, "local", Wishes(params=params, dry=True))
    rehearse(plan, workspace.ledger, workspace.store, call_step)
    return run_id


def compare(workspace: Any, *names: str) -> RunComparison:
    experiments = [find_experiment(workspace.ledger, CASA, name) for name in names]
    return compare_runs(workspace.settings, workspace.brand("casa"), CASA, workspace.ledger, experiments)


def git(workspace: Any, *arguments: str) -> None:
    who = ["-c", "user.name=anna", "-c", "user.email=anna@house.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=workspace.root, check=True, capture_output=True)


def commit(workspace: Any) -> None:
    (workspace.root / ".gitignore").write_text("home/\n*.csv\n.dvc/\n__pycache__/\n")
    if not (workspace.root / ".git").exists():
        git(workspace, "init", "-q")
    git(workspace, "add", "-A")
    git(workspace, "commit", "-q", "-m", "state")


# Scores


def test_runs_on_the_same_rows_are_compared_row_by_row(workspace: Any) -> None:
    workspace.train()
    weak, same = dry(workspace, n_estimators=10), dry(workspace, n_estimators=60)
    found = compare(workspace, "v1", weak[:8], same[:8])
    worse, equal = found.gains[1:]
    assert worse is not None
    assert equal is not None
    assert (worse.paired, worse.verdict) == (True, "worse")
    assert worse.low < worse.gain < worse.high < 0
    assert (equal.gain, equal.verdict) == (0.0, "within noise")
    assert found.params["n_estimators"] == (None, 10, 60)
    assert next(iter(found.params)) == "n_estimators", "what differs comes first"
    assert found.params["run"] == ("full", "dry", "dry")


def test_paired_interval_is_narrower_than_that_of_runs_on_other_rows(workspace: Any) -> None:
    first, second = dry(workspace, n_estimators=60), dry(workspace, n_estimators=50)
    paired = compare(workspace, first, second).gains[1]
    for file in (workspace.home / "experiments/casa/price").iterdir():
        file.unlink()
    unpaired = compare(workspace, first, second).gains[1]
    assert paired is not None
    assert unpaired is not None
    assert (paired.paired, unpaired.paired) == (True, False)
    assert paired.gain == unpaired.gain
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 2
    assert unpaired.how == "not paired, so the interval is wide: the predictions of both are not on this machine"


def test_other_data_are_told_and_their_scores_not_paired(workspace: Any, make_tables: Any) -> None:
    workspace.train()
    workspace.write_table("casa", "homes", make_tables.casa(300))
    workspace.train()
    found = compare(workspace, "v1", "v2")
    gain = found.gains[1]
    assert gain is not None
    assert (gain.paired, gain.how) == (False, "not paired, so the interval is wide: they were judged on different rows")
    assert [(facts.rows, facts.rows_train + facts.rows_holdout) for facts in found.data] == [(400, 400), (300, 300)]
    (command,) = diff_commands(found)
    assert command == f"brandhouse data diff casa/homes {found.data[0].hash_md5[:12]} {found.data[1].hash_md5[:12]}"


def test_runs_by_different_metrics_are_not_compared(workspace: Any) -> None:
    workspace.train()
    workspace.edit(TOML, 'metric = "mae"', 'metric = "rmse"')
    workspace.train()
    gain = compare(workspace, "v1", "v2").gains[1]
    assert gain is not None
    assert (gain.gain, gain.verdict, gain.how) == (None, "not comparable", "mae and rmse are different metrics")


# Code and packages


def test_committed_code_is_compared_by_git_within_the_brands_folder(workspace: Any) -> None:
    commit(workspace)
    workspace.train()
    workspace.append(CODE, "# a new line\n")
    workspace.append("brands/villa/brand.toml", "# of another brand\n")
    workspace.append("requirements.lock", "numpy==2.0\n")
    commit(workspace)
    workspace.train()
    found = compare(workspace, "v1", "v2")
    assert [one.git_dirty for one in found.experiments] == [False, False]
    assert all(details is not None and not details.sources for details in found.details), "Git has them"
    code, lock = found.code[0], found.locks[0]
    assert "as committed in" in code.summary
    assert "+# a new line" in code.diff
    assert "another brand" not in code.diff
    assert lock.packages == {"numpy": (None, "2.0")}


def test_code_that_nobody_committed_is_compared_too(workspace: Any) -> None:
    commit(workspace)
    workspace.train()
    workspace.append(CODE, "# not committed\n")
    run_id = dry(workspace)
    workspace.edit(CODE, "# not committed\n", "")
    code = compare(workspace, "v1", run_id).code[0]
    assert (code.same, "+# not committed" in code.diff) == (False, True)
    assert "with uncommitted changes on" in code.summary
    for file in (workspace.home / "experiments/casa/price").iterdir():
        file.unlink()
    code = compare(workspace, "v1", run_id).code[0]
    assert (code.same, code.diff) == (False, "")
    assert "the Python files differ by their digest" in code.summary
    assert "had uncommitted changes and its files are not on this machine" in code.summary


# Names, lists and pages


def test_runs_are_found_by_what_people_call_them(workspace: Any) -> None:
    workspace.append(TOML, "\n[models.price.gates]\nthreshold = 1\n")
    workspace.train()
    run_id = dry(workspace)
    ledger = workspace.ledger
    assert find_experiment(ledger, CASA, "v1").run_id == find_experiment(ledger, CASA, "v2").run_id, (
        "a run made the model and its model zero"
    )
    zero = find_experiment(ledger, CASA, "production")
    assert (zero.label, zero.result.candidate_name) == ("v2", "linear")
    assert find_experiment(ledger, CASA, "newest").run_id == find_experiment(ledger, CASA, run_id[:6]).run_id == run_id
    for name in ("v9", "zzzz", "abc"):
        with pytest.raises(UnknownRunError, match=r"casa/price has no run '.*'; allowed: v1, production, newest, or 4 letters of an id"):
            find_experiment(ledger, CASA, name)


def test_runs_of_one_brand_hold_nothing_of_another(workspace: Any) -> None:
    workspace.train(ModelKey("villa", "sold"))
    (villa,) = list_experiments(workspace.ledger, ModelKey("villa", "sold"))
    assert list_experiments(workspace.ledger, CASA) == []
    with pytest.raises(UnknownRunError):
        find_experiment(workspace.ledger, CASA, villa.run_id)


def test_run_without_a_score_cannot_be_compared(workspace: Any) -> None:
    workspace.train()
    workspace.append(CODE, "raise RuntimeError('no')\n")
    with pytest.raises(BrandhouseError):
        workspace.train()
    failed = workspace.ledger.runs(CASA)[0].record.run_id
    with pytest.raises(BrandhouseError, match=r"nothing to compare: run .* measured nothing \(failed: EntrypointError"):
        compare(workspace, "v1", failed)


class Page(HTMLParser):
    """Counts what a page holds, and notes what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.unnamed = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.loads += [str(named[name]) for name in ("src", "href") if name in named]
        self.unnamed += tag == "svg" and not (named.get("role") == "img" and named.get("aria-label"))


def test_page_is_one_file_with_plots_that_have_text_alternatives(workspace: Any) -> None:
    space = "\n[models.price.candidates.default]\nspace = { n_estimators = { low = 10, high = 60, integer = true } }\n"
    workspace.append(TOML, space + "\n[models.price.search]\ntrials = 3\n\n[models.price.gates]\nslice_min_rows = 5\n")
    workspace.edit(TOML, 'metric = "mae"', 'metric = "mae"\nslices = ["town"]')
    workspace.train()
    dry(workspace, n_estimators=9)
    experiments = list_experiments(workspace.ledger, CASA)
    text = render_runs(CASA, "Casa <b>& co</b>", experiments, compare(workspace, "v1", "newest"))
    page = Page(text)
    assert page.tags.count("svg") == 6, "history, gain, three towns, one search"
    assert (page.loads, page.unnamed, "script" in page.tags) == ([], 0, False)
    assert "Casa &lt;b&gt;&amp; co&lt;/b&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert Page(render_runs(CASA, "Casa", experiments, None)).tags.count("svg") == 1


def test_command_lists_compares_and_writes_the_page(workspace: Any) -> None:
    assert workspace.run("train", "casa/price").returncode == 0
    tried = workspace.run("train", "casa/price", "--params", "n_estimators=10", "--dry-run", "--json")
    (result,) = json.loads(tried.stdout)
    assert (result["outcome"], result["params"], result["gates_passed"]) == ("rehearsed", {"n_estimators": 10}, False)
    assert result["gains"]["production"]["high"] < 0
    listed = json.loads(workspace.run("runs", "casa/price", "--json").stdout)
    assert [(one["kind"], one["version"], one["result"]["params"]) for one in listed] == [
        ("dry", None, {"n_estimators": 10}),
        ("full", "v1", {}),
    ]
    file = workspace.root / "runs.html"
    shown = workspace.run("runs", "casa/price", "--compare", "v1", result["run_id"][:8], "--html", str(file))
    assert shown.returncode == 0, shown.stderr
    assert "paired: both answered the same held-out rows" in shown.stdout
    assert "worse" in shown.stdout
    assert file.read_text().startswith("<!doctype html>")
    refused = workspace.run("train", "casa/price", "--params", "n_estimators=True")
    assert (refused.returncode, refused.stderr) == (1, "brandhouse: n_estimators: True is no TOML value; write true\n")
