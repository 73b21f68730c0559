"""The real command in a process of its own, on a workspace with two invented brands."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOML = "brands/casa/brand.toml"
STATUS_KEYS = {"brand", "model", "version", "stage", "task", "metric", "score", "baseline_score", "runtime"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_workspace: Any) -> Any:
    """A workspace whose two models are in production; tests only read it."""
    workspace = make_workspace(tmp_path_factory.mktemp("trained"))
    done = workspace.run("train", "casa", "villa/sold")
    assert done.returncode == 0, done.stderr
    return workspace


def assert_failed(done: "subprocess.CompletedProcess[str]", message: str, code: int = 1) -> None:
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# -- check and ingest --------------------------------------------------------------------------------------------------


def test_check_says_that_all_is_well(trained: Any) -> None:
    done = trained.run("check")
    assert (done.returncode, done.stdout) == (0, "2 brand(s) checked, 0 problem(s)\n")


def test_check_finds_problems_of_several_brands_and_exits_with_1(workspace: Any) -> None:
    workspace.edit(TOML, 'metric = "mae"', 'metrc = "mae"')
    (workspace.root / "brands/villa/data/offers.csv.dvc").unlink()
    (workspace.root / "brands/stray").mkdir()
    done = workspace.run("check")
    assert (done.returncode, done.stderr) == (1, "")
    assert "brands/casa/brand.toml:18:1: error: models.price.metrc: unknown key; remove it or correct its name" in done.stdout
    assert "brands/villa/data/offers.csv.dvc: error: the pointer of dataset 'offers' does not exist" in done.stdout
    assert "brands/stray/brand.toml: error: does not exist" in done.stdout
    problems = json.loads(workspace.run("check", "villa", "--json").stdout)
    assert [(problem["rule"], problem["file"]) for problem in problems] == [("pointer-missing", "brands/villa/data/offers.csv.dvc")]


def test_ingest_says_what_came(workspace: Any) -> None:
    done = workspace.run("ingest", "casa")
    assert done.returncode == 0, done.stderr
    assert "casa: data/homes.csv" in done.stdout
    assert "(as its pointer says); price: 400 rows" in done.stdout
    (item,) = json.loads(workspace.run("ingest", "casa", "--json").stdout)
    assert (item["dataset"], item["rows"], item["changed"]) == ("homes", {"price": 400}, False)


def test_changed_data_are_refused_and_accepted_by_name(workspace: Any, make_tables: Any) -> None:
    workspace.run("ingest", "casa")
    workspace.write_table("casa", "homes", make_tables.casa(410), pointer=False)
    assert_failed(workspace.run("ingest", "casa"), "brandhouse: casa: data/homes.csv has hash")
    assert "new pointer, commit it" in workspace.run("ingest", "casa", "--accept-new").stdout


# -- train -------------------------------------------------------------------------------------------------------------


def test_one_failing_brand_does_not_stop_another(workspace: Any) -> None:
    workspace.edit("brands/casa/src/brand_casa/price.py", 'rows["rooms"]', 'rows["room"]')
    done = workspace.run("train", "nobody", "casa", "villa")
    assert done.returncode == 1
    assert done.stdout.startswith("villa/sold/v1: roc_auc ")
    assert done.stderr.splitlines() == [
        "brandhouse: unknown brand 'nobody'; known brands: casa, villa",
        "brandhouse: casa/price: build_features raised KeyError: 'room'",
    ]


def test_train_all_as_json(trained: Any) -> None:
    done = trained.run("train", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert [(item["brand"], item["model"], item["outcome"], item["version"]) for item in json.loads(done.stdout)] == [
        ("casa", "price", "unchanged", "v1"),
        ("villa", "sold", "unchanged", "v1"),
    ]


# -- versions and stages -----------------------------------------------------------------------------------------------


def test_versions_promote_rollback_retire_and_history(workspace: Any) -> None:
    for force in ([], ["--force"]):
        assert workspace.run("train", "casa/price", *force).returncode == 0
    found = json.loads(workspace.run("versions", "casa/price", "--json").stdout)
    assert [(item["version"], item["stage"]) for item in found] == [("v2", "production"), ("v1", "retired")]
    back = workspace.run("rollback", "casa/price", "--reason", "v2 is odd")
    assert back.stdout == "casa/price/v1: retired -> production by tester: v2 is odd\n"
    again = json.loads(workspace.run("promote", "casa/price", "--version", "v2", "--reason", "it was not", "--json").stdout)
    assert (again["version"], again["to"], again["actor"], again["reason"]) == ("v2", "production", "tester", "it was not")
    assert "production -> retired by tester: end of sale" in workspace.run("retire", "casa/price", "--reason", "end of sale").stdout
    assert_failed(workspace.run("retire", "casa/price", "--reason", "again"), "casa/price has no version in production; nothing to retire")
    events = json.loads(workspace.run("history", "casa/price", "--json").stdout)
    assert [(event["version"], event["to"]) for event in events][-2:] == [("v2", "production"), ("v2", "retired")]
    table = workspace.run("history", "casa/price").stdout
    assert "end of sale" in table
    assert "training template" in table


def test_stage_changes_that_are_not_allowed(trained: Any) -> None:
    assert_failed(trained.run("promote", "casa/price", "--version", "v9", "--reason", "x"), "casa/price has no version v9; known: v1")
    assert_failed(trained.run("promote", "casa/price", "--reason", "x"), "that waits for promotion; name one with --version")
    assert_failed(trained.run("rollback", "casa/price", "--reason", "x"), "nothing to roll back to")
    assert_failed(trained.run("promote", "casa/price", "--version", "v1", "--reason", " "), "a stage change needs a reason")


def test_status_shows_all_models(trained: Any, workspace: Any) -> None:
    rows = json.loads(trained.run("status", "--json").stdout)
    assert [(row["brand"], row["model"], row["version"], row["stage"]) for row in rows] == [
        ("casa", "price", "v1", "production"),
        ("villa", "sold", "v1", "production"),
    ]
    assert all(set(row) >= STATUS_KEYS for row in rows)
    assert (rows[0]["task"], rows[0]["metric"], rows[0]["runtime"]) == ("regression", "mae", "compiled")
    assert rows[0]["score"] < rows[0]["baseline_score"]
    untrained = json.loads(workspace.run("status", "--json").stdout)
    assert {row["stage"] for row in untrained} == {"untrained"}
    assert all(set(row) == set(rows[0]) for row in untrained), "rows have one shape, trained or not"


def test_status_shows_the_good_brands_beside_a_broken_one(workspace: Any) -> None:
    workspace.edit(TOML, 'risk = "low"', 'risk = "low')
    done = workspace.run("status")
    assert "villa" in done.stdout
    assert "broken: brand 'casa': 1 problem(s) in brand.toml" in done.stderr


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_are_shown_once_listed_without_the_secret_and_revoked(workspace: Any) -> None:
    created = json.loads(workspace.run("keys", "create", "casa", "--scope", "predict", "--expires-days", "3", "--json").stdout)
    assert (created["brand"], created["scopes"], created["key"][:3]) == ("casa", ["predict"], "bh_")
    listed = workspace.run("keys", "list", "casa", "--json").stdout
    secret = created["key"].split("_", 2)[2]
    assert secret not in listed
    assert secret.encode() not in (workspace.home / "ledger.db").read_bytes()
    (key,) = json.loads(listed)
    assert (key["key_id"], key["revoked_at"], "hash" in key) == (created["key_id"], None, False)
    assert "revoked 1 key(s) of casa" in workspace.run("keys", "revoke", "casa", "--key-id", created["key_id"]).stdout
    assert json.loads(workspace.run("keys", "list", "casa", "--json").stdout)[0]["revoked_at"] is not None
    assert_failed(workspace.run("keys", "revoke", "casa", "--key-id", created["key_id"]), "casa has no live key")
    assert "villa has no key yet" in workspace.run("keys", "list", "villa").stdout


# -- predict -----------------------------------------------------------------------------------------------------------


def test_predict_one_instance_and_held_out_rows(trained: Any) -> None:
    home = {"area": 100.0, "rooms": 4, "garden": True, "town": "Delft"}
    answer = json.loads(trained.run("predict", "casa/price", "--json", json.dumps(home)).stdout)
    assert answer["model"] == "casa/price/v1"
    assert answer["predictions"][0] == pytest.approx(600_000, rel=0.2)
    sampled = json.loads(trained.run("predict", "villa/sold", "--sample", "3").stdout)
    assert (len(sampled["predictions"]), len(sampled["truth"])) == (3, 3)
    assert set(sampled["truth"]) <= {"yes", "no"}
    assert_failed(trained.run("predict", "casa/price", "--json", '{"area": "big"}'), "instances[0].area: a text given; allowed: a number")
    assert_failed(trained.run("predict", "casa/price", "--json", "{area"), "--json is no valid JSON")


def test_predict_needs_a_version_in_production(workspace: Any) -> None:
    assert_failed(workspace.run("predict", "casa/price", "--sample", "1"), "casa/price has no version in production; promote one first")


# -- errors ------------------------------------------------------------------------------------------------------------

USAGE = {
    "train": "name what to train, or give --all",
    "train casa --all": "name what to train, or give --all",
    "predict casa/price": "give either an instance",
    "promote casa/price": "Missing option '--reason'",
    "promote casa/price --reason x --to nowhere": "'nowhere' is not one of 'shadow', 'canary', 'production'",
    "keys create casa --scope everything": "'everything' is not one of",
    "fly": "No such command 'fly'",
    "status --colour": "No such option",
}


@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage_exits_with_2(workspace: Any, line: str) -> None:
    assert_failed(workspace.run(*line.split()), USAGE[line], code=2)


FAILURES = {
    "versions casa": "'casa' is no model key; allowed: BRAND/MODEL",
    "versions casa/rent": "brand 'casa' has no model 'rent'; its models: price",
    "versions nobody/price": "unknown brand 'nobody'; known brands: casa, villa",
    "versions casa/../../etc": "is no model",
    "check nobody": "unknown brand 'nobody'",
}


@pytest.mark.parametrize("line", FAILURES)
def test_failures_exit_with_1_and_one_message(workspace: Any, line: str) -> None:
    done = workspace.run(*line.split())
    assert_failed(done, FAILURES[line])
    assert done.stderr.startswith("brandhouse: ")
    assert len(done.stderr.splitlines()) == 1


def test_outside_a_workspace_the_command_says_what_to_do(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRANDHOUSE_")}
    command = [str(Path(sys.executable).with_name("brandhouse")), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert_failed(done, "no Brandhouse workspace at or above")


@pytest.mark.parametrize(("revision", "message"), [("9999", "newer"), (None, "older")])
def test_ledger_of_another_release_is_one_message(workspace: Any, revision: str | None, message: str) -> None:
    import sqlite3

    workspace.ledger.close()
    with sqlite3.connect(workspace.home / "ledger.db") as connection:
        connection.execute("DELETE FROM ledger_revision")
        if revision:
            connection.execute("INSERT INTO ledger_revision VALUES (?)", (revision,))
    for line in ("status", "versions casa/price", "train casa/price"):
        assert_failed(workspace.run(*line.split()), message)


def test_reader_that_stops_reading_is_no_error(trained: Any) -> None:
    command = [str(Path(sys.executable).with_name("brandhouse")), "versions", "casa/price", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=trained.environment)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read().decode() == ""
    process.stderr.close()
    process.wait(timeout=60)


# -- start and completion ----------------------------------------------------------------------------------------------

HEAVY = ("pandas", "numpy", "prefect", "rich", "sqlalchemy", "sklearn", "bentoml", "dvc", "asyncio")


IMPORTED = """
import sys
from brandhouse_console.main import main
sys.argv = {arguments!r}
try:
    main()
except SystemExit as end:
    print([name for name in {names!r} if name in sys.modules], end.code, file=sys.stderr)
"""


def imported(line: str, names: tuple[str, ...], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command line; standard error then lists those of the packages that were imported, and the exit status."""
    script = IMPORTED.format(arguments=["brandhouse", *line.split()], names=names)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("line", ["--help", "train --help", "keys --help"])
def test_help_imports_nothing_heavy(line: str) -> None:
    done = imported(line, HEAVY, dict(os.environ))
    assert done.stderr == "[] 0\n"
    assert "Usage: brandhouse" in done.stdout


def test_status_does_without_pandas_prefect_and_sqlalchemy(trained: Any) -> None:
    assert imported("status --json", ("pandas", "prefect", "sqlalchemy", "sklearn", "rich"), trained.environment).stderr == "[] 0\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("brandhouse check ", "casa villa"),
        ("brandhouse train c", "casa casa/price"),
        ("brandhouse versions villa/", "villa/sold"),
        ("brandhouse promote casa/price --reason x --to ", "shadow canary production"),
        ("brandhouse statu", "status"),
    ],
)
def test_completion_offers_brands_models_and_choices(workspace: Any, words: str, offered: str) -> None:
    done = workspace.run(_BRANDHOUSE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
    assert done.stdout.split() == offered.split(), done.stderr


def test_completion_offers_good_brands_beside_a_broken_one(workspace: Any) -> None:
    workspace.edit(TOML, 'risk = "low"', 'risk = "low')
    done = workspace.run(_BRANDHOUSE_COMPLETE="complete_bash", COMP_WORDS="brandhouse versions ", COMP_CWORD="2")
    assert done.stdout.split() == ["villa/sold"]
