"""`brandhouse new`: from a table to a model that answers, with real DVC; refused, failed, interrupted and killed."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from brandhouse_authoring.answers import answer_from_proposal, read_answers
from brandhouse_authoring.beginning import BeginningError, begin_brand
from brandhouse_authoring.proposal import propose
from brandhouse_authoring.template import TEMPLATE_FOLDER
from brandhouse_authoring.unfinished import PREFIX
from brandhouse_shared.brands import discover_brands
from brandhouse_shared.errors import InvalidNameError

ROOT = Path(__file__).parents[2]
KILLED_WHEN_DATA_ARE_IN = """
import sys, time
from pathlib import Path
import brandhouse_flows.inspection
from brandhouse_console.beginning import Wanted, new

def hang(*_):
    print("data are in", flush=True)
    time.sleep(60)

brandhouse_flows.inspection.inspect_folder = hang
new(Wanted(name="molen", target="price", table=Path(sys.argv[1])), yes=True, as_json=True)
"""


@pytest.fixture
def house(workspace: Any) -> Any:
    """A workspace with this repository's template, in a Git repository."""
    add_template(workspace.root)
    return workspace


@pytest.fixture
def table(tmp_path: Path, make_tables: Any) -> Path:
    """Homes under names as people give them: with blanks, a slash, a letter that is not ASCII."""
    homes = make_tables.casa(240).rename(columns={"area": "Area (m²)", "rooms": "rooms/total", "town": "Town "})
    homes.insert(0, "id", range(1, len(homes) + 1))
    path = tmp_path / "homes for sale.csv"
    homes.to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    return path


def add_template(root: Path) -> None:
    shutil.copytree(ROOT / TEMPLATE_FOLDER, root / TEMPLATE_FOLDER)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)


def run_own_tests(folder: Path) -> None:
    """Run a brand's own tests. One thread: on a busy machine the threads of tree ensembles wait for each other."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(folder / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:]


def traces(house: Any, name: str = "molen") -> list[str]:
    """All that is left of a brand, on disk; locks are empty files and hold nothing."""
    found = [path for path in house.root.rglob("*") if name in path.name and path.parent.name != "locks"]
    return sorted(str(path.relative_to(house.root)) for path in [*found, *house.settings.brands_dir.glob(f"{PREFIX}*")])


def values_of(table: Path, name: str = "molen") -> dict[str, Any]:
    return answer_from_proposal(propose(table, "price", name=name), owner="molen@house.example", budget_eur_month=0)


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_table_becomes_a_model_that_answers_without_an_edit(house: Any, table: Path) -> None:
    done = house.run("new", "molen", "--from", str(table), "--target", "price", "--owner", "molen@house.example", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["folder"], said["task"], said["rows"], said["can_be_upgraded"]) == ("brands/molen", "regression", 240, True)
    assert "brandhouse train molen/price" in said["next"]

    checked = house.run("check", "molen")
    assert checked.returncode == 0, checked.stdout
    (trained,) = json.loads(house.run("train", "molen", "--json", OMP_NUM_THREADS="1").stdout)
    assert trained["outcome"] in ("registered", "gates_failed"), trained["detail"]
    example = read_answers(house.root / "brands" / "molen").values["example"]  # the README's request
    answered = house.run("predict", "molen/price", "--json", json.dumps(example))
    assert answered.returncode == 0, answered.stderr
    assert len(json.loads(answered.stdout)["predictions"]) == 1

    run_own_tests(house.root / "brands" / "molen")
    assert house.run("upgrade", "molen").stdout == "molen: is at today's template\n"


def test_the_new_brands_owner_is_asked_from_the_first_change_on(house: Any, table: Path) -> None:
    owners = house.root / ".github" / "CODEOWNERS"
    owners.parent.mkdir()
    owners.write_text("")
    begin = ["new", "molen", "--from", str(table), "--target", "price", "--owner", "molen@house.example", "--json"]
    (house.root / "pyproject.toml").write_text('[tool.brandhouse]\nplatform_owner = "platform@house.example"\n')

    said = json.loads(house.run(*begin).stdout)
    assert said["approval"] == ".github/CODEOWNERS names the owner now; commit it with the folder"
    assert "/brands/molen/  molen@house.example" in owners.read_text()

    (house.root / "pyproject.toml").write_text("")
    begin[1] = "kade"
    assert "still lacks the brand: pyproject.toml names no platform team" in json.loads(house.run(*begin).stdout)["approval"]


def test_a_query_becomes_a_brand_and_no_url_is_written_anywhere(house: Any, table: Path, tmp_path: Path) -> None:
    database = tmp_path / "secret-place.db"
    with sqlite3.connect(database) as connection:
        pd.read_csv(table, sep=";").to_sql("homes", connection, index=False)
    variable = {"BRANDHOUSE_SECRET_MOLEN_SQL_URL": f"sqlite:///{database}"}
    asked = ["new", "molen", "--target", "price", "--query", "SELECT * FROM homes", "--json"]

    refused = house.run(*asked, "--sql", f"sqlite:///{database}")
    assert refused.returncode == 1 and "--sql takes no URL: it holds a password" in refused.stderr
    assert "--sql env:BRANDHOUSE_SECRET_MOLEN_SQL_URL" in refused.stderr, "what to type instead"
    foreign = house.run(*asked, "--sql-env", "BRANDHOUSE_SECRET_CASA_SQL_URL", BRANDHOUSE_SECRET_CASA_SQL_URL="sqlite://")
    assert "is no variable of the brand" in foreign.stderr
    done = house.run(*asked, "--sql", "env:BRANDHOUSE_SECRET_MOLEN_SQL_URL", **variable)
    assert done.returncode == 0, done.stderr

    folder = house.root / "brands" / "molen"
    texts = [
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file() and path.suffix in (".toml", ".md", ".py", ".dvc")
    ]
    assert not [text for text in texts if "secret-place" in text], "the URL stays in its variable"
    source = house.brand("molen").config.datasets["rows"].source
    assert (source.kind, source.url_env, source.query) == ("sql", "BRANDHOUSE_SECRET_MOLEN_SQL_URL", "SELECT * FROM homes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("new molen --target price", "--from / --sql"),
        ("new molen --target price --sql-env BRANDHOUSE_SECRET_MOLEN_X", "--sql / --query"),
        ("new molen --target price --from x.csv --query SELECT", "--sql / --query"),
        ("new molen --target price --from x.csv --task guess", "--task"),
        ("upgrade", "BRAND / --ring"),
        ("upgrade casa --ring one", "BRAND / --ring"),
        ("upgrade --ring one --adopt", "--ring"),
    ],
)
def test_wrong_usage_is_said_at_once(words: str, said: str) -> None:
    from brandhouse_console.main import app

    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2 and said in done.output


def test_a_sensitive_column_is_asked_about_on_a_terminal_and_flagged_elsewhere(house: Any, table: Path, tmp_path: Path) -> None:
    people = pd.read_csv(table, sep=";").assign(gender=["f", "m"] * 120)
    people.to_csv(tmp_path / "people.csv", index=False)
    asked = ["new", "molen", "--from", str(tmp_path / "people.csv"), "--target", "price"]
    silent = json.loads(house.run(*[word.replace("molen", "other") for word in asked], "--json").stdout)
    assert [question["column"] for question in silent["questions"]] == ["gender"]
    assert any(item["subject"] == "gender" and item["attention"] for item in silent["decisions"]), "flagged where nobody can answer"
    assert "decide: " in (house.root / "brands/other/brand.toml").read_text()

    terminal, other_end = pty.openpty()
    command = [str(Path(sys.executable).with_name("brandhouse")), *asked]
    with subprocess.Popen(command, stdin=other_end, stderr=other_end, stdout=subprocess.PIPE, text=True, env=house.environment) as process:
        os.write(terminal, b"n\n")
        printed, _ = process.communicate(timeout=120)
    os.close(other_end)
    os.close(terminal)
    assert process.returncode == 0, printed
    assert "gender" not in house.brand("molen").config.models["price"].inputs, "the answer was no"
    assert "gender" in house.brand("other").config.models["price"].inputs


# -- nothing half ------------------------------------------------------------------------------------------------------


def test_a_taken_or_impossible_name_is_refused_and_nothing_is_touched(house: Any, table: Path) -> None:
    before = {path: path.read_bytes() for path in (house.root / "brands").rglob("*") if path.is_file()}
    with pytest.raises(BeginningError, match=r"casa: .* exists already, and nothing is overwritten"):
        begin_brand(house.settings, values_of(table, "casa"), table, house.ledger)
    (house.root / "brands" / "molen").mkdir()
    (house.root / "brands" / "molen" / "mine.txt").write_text("mine")
    with pytest.raises(BeginningError, match="exists already"):
        begin_brand(house.settings, values_of(table), table, house.ledger)
    with pytest.raises(InvalidNameError):
        begin_brand(house.settings, values_of(table) | {"brand": "../x"}, table, house.ledger)

    assert before.items() <= {path: path.read_bytes() for path in (house.root / "brands").rglob("*") if path.is_file()}.items()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_failure_at_the_end_leaves_nothing_of_the_brand(
    stop: type[BaseException], house: Any, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert (house.settings.home / "remotes" / "molen").exists(), "the data are in by now"
        raise stop

    monkeypatch.setattr("brandhouse_flows.inspection.inspect_folder", fail)
    with pytest.raises(stop):
        begin_brand(house.settings, values_of(table), table, house.ledger)

    assert traces(house) == [], "neither folder nor data"


def test_a_folder_that_would_not_pass_the_check_is_not_written(house: Any, table: Path) -> None:
    house.edit(
        f"{TEMPLATE_FOLDER}/src/brand_{{{{ brand }}}}/{{{{ model }}}}.py.jinja", '    """Turn', '    rows = rows.nothing\n    """Turn'
    )
    with pytest.raises(BeginningError, match=r"would not pass `brandhouse check`.*\n  - src/brand_molen/price.py:\d+"):
        begin_brand(house.settings, values_of(table), table, house.ledger)

    assert traces(house) == []


def test_rows_that_contradict_the_declaration_are_found_before_the_data_go_anywhere(house: Any, table: Path) -> None:
    values = values_of(table)
    values["inputs"]["rooms/total"] |= {"max": 3}
    values["data"] = {key: value for key, value in values["data"].items() if key != "max_bad_share"}
    with pytest.raises(Exception, match="rooms/total"):
        begin_brand(house.settings, values, table, house.ledger)

    assert traces(house) == []
    assert house.ledger.snapshots("molen") == [], "the ledger, which only adds, was never told"


def test_a_killed_beginning_is_no_brand_and_is_removed_by_the_next(house: Any, table: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHEN_DATA_ARE_IN, str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=house.environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "data are in\n"
        begin_brand(house.settings, values_of(table, "other"), table, house.ledger)  # beside a living one
        assert list(house.settings.brands_dir.glob(f"{PREFIX}*")), "what is being made is left alone"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert traces(house), "a kill leaves what it had made"
    brands, broken = discover_brands(house.settings.brands_dir)
    assert "molen" not in [brand.name for brand in brands] and not broken, "and it looks like no brand"
    begin_brand(house.settings, values_of(table, "third"), table, house.ledger)
    assert traces(house) == [], "the next beginning removes folder, cache and remote of what was killed"


def test_ctrl_c_leaves_nothing_and_says_so(house: Any, table: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHEN_DATA_ARE_IN, str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=house.environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "data are in\n"
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert "molen: stopped; no brand was made, and nothing is left behind" in said
    assert traces(house) == []
    assert not (house.settings.brands_dir / "molen").exists()


def test_the_task_may_be_given(house: Any, table: Path) -> None:
    asked = ["new", "molen", "--from", str(table), "--target", "rooms/total", "--json"]
    assert json.loads(house.run(*asked, "--task", "multiclass").stdout)["task"] == "multiclass"


def test_brands_of_one_workspace_do_not_share_data(house: Any, table: Path) -> None:
    for name in ("molen", "other"):
        begin_brand(house.settings, values_of(table, name), table, house.ledger)

    stores = [{path.name for path in (house.settings.home / "remotes" / name).rglob("*") if path.is_file()} for name in ("molen", "other")]
    assert stores[0] == stores[1] and stores[0], "equal bytes, kept twice: each brand has its own remote"
    assert [len(house.ledger.snapshots(name)) for name in ("molen", "other")] == [1, 1]


@pytest.mark.slow
def test_the_ready_made_code_of_every_task_passes_its_own_tests(house: Any, tmp_path: Path, make_tables: Any) -> None:
    for name, target in {"yesno": "garden", "kinds": "town"}.items():
        path = tmp_path / f"{name}.csv"
        make_tables.casa(300).to_csv(path, index=False)
        done = house.run("new", name, "--from", str(path), "--target", target, "--yes")
        assert done.returncode == 0, done.stderr
        run_own_tests(house.root / "brands" / name)
