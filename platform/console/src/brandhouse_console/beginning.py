"""`brandhouse new`: from a table to a brand's folder, saying what was decided and what a person has to look at."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.errors import BrandhouseError
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_authoring.beginning import Begun
    from brandhouse_authoring.proposal import Proposal
    from brandhouse_authoring.querying import QueryResult

ATTENTION = "!"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed.

    Attributes:
        name: Of the brand.
        target: Column to predict.
        table: File to begin from; None with a query.
        url_env: Environment variable with a database's URL; None with a file.
        query: The SELECT whose rows to begin from; None with a file.
        task: What is learned; None: told from the target's values.
        model: Name of the model; None: made from the target.
        owner: Who answers for the brand; None: this machine's Git user.
        title: Name for people; None: made from the brand's name.
        header: Column names of a file that has none.
        keep: Columns to keep that would be left out.
        leave_out: Columns to leave out that would be kept.
    """

    name: str
    target: str
    table: Path | None = None
    url_env: str | None = None
    query: str | None = None
    task: str | None = None
    model: str | None = None
    owner: str | None = None
    title: str | None = None
    header: tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


def new(wanted: Wanted, *, yes: bool, as_json: bool) -> None:
    """Make the brand and print what was decided; nothing is left behind if it fails.

    Args:
        wanted: What to make.
        yes: Ask nothing; what would be asked is flagged.
        as_json: Print one JSON object instead of tables.
    """
    settings = load_settings()
    try:
        proposal, begun = _make(settings, wanted, may_ask=not yes and not as_json, silent=as_json)
    except KeyboardInterrupt:
        if not (settings.brands_dir / wanted.name).exists():
            print(f"{wanted.name}: stopped; no brand was made, and nothing is left behind", file=sys.stderr)
        raise
    document = {**_document(proposal, begun, settings), "approval": _enter_owner(settings)}
    print_json(document) if as_json else _print(document, proposal)


def _make(settings: Settings, wanted: Wanted, *, may_ask: bool, silent: bool) -> "tuple[Proposal, Begun]":
    with ExitStack() as stack:
        with _steps(wanted, silent) as step:
            step("name", _refuse_taken, settings, wanted.name)
            table = stack.enter_context(_table_of(settings, wanted, step))
            proposal = step("look at the table", _propose, wanted, table)
        answered = _ask(proposal, wanted, may_ask=may_ask)  # between the steps, whose display would write over it
        with _steps(wanted, silent) as step:
            if answered != wanted:
                proposal = step("look again", _propose, answered, table)
            return proposal, step("write and check", _begin, settings, proposal, answered, table)


def _steps(wanted: Wanted, as_json: bool) -> AbstractContextManager[Any]:
    from brandhouse_console.progress import show_steps

    return show_steps(wanted.name, silent=as_json)


def _refuse_taken(settings: Settings, name: str) -> None:
    from brandhouse_authoring.beginning import refuse_taken

    refuse_taken(settings, name)


# -- the table -------------------------------------------------------------------------------------------------------


@contextmanager
def _table_of(settings: Settings, wanted: Wanted, step: Any) -> Iterator["Path | QueryResult"]:
    """Yield the file to begin from, or a query's result."""
    if wanted.table is not None:
        yield wanted.table
        return
    from brandhouse_authoring.querying import run_query

    with tempfile.TemporaryDirectory(prefix="brandhouse-query-") as folder:
        yield step("query", run_query, settings, wanted.name, str(wanted.url_env), str(wanted.query), Path(folder))


def _propose(wanted: Wanted, table: "Path | QueryResult") -> "Proposal":
    from brandhouse_authoring.proposal import propose, propose_from_frame
    from brandhouse_shared.metrics import Task

    asked: dict[str, Any] = {"name": wanted.name, "model": wanted.model, "keep": wanted.keep, "leave_out": wanted.leave_out}
    asked["task"] = None if wanted.task is None else Task(wanted.task)
    if isinstance(table, Path):
        return propose(table, wanted.target, header=wanted.header, **asked)
    from brandhouse_authoring.querying import DATA, DATASET

    return propose_from_frame(table.rows, wanted.target, source=table.source, data=DATA, dataset=DATASET, **asked)


# -- what only a person knows ----------------------------------------------------------------------------------------


def _ask(proposal: "Proposal", wanted: Wanted, *, may_ask: bool) -> Wanted:
    """Ask the questions on a terminal; elsewhere their defaults stand, and the table flags them."""
    if not (may_ask and proposal.questions and sys.stdin.isatty() and sys.stderr.isatty()):
        return wanted
    from dataclasses import replace

    import typer

    keep, leave_out = list(wanted.keep), list(wanted.leave_out)
    for question in proposal.questions:
        is_kept = typer.confirm(question.text, default=question.default, err=True)
        if is_kept != question.default:
            (keep if is_kept else leave_out).append(question.column)
    return replace(wanted, keep=tuple(keep), leave_out=tuple(leave_out))


def _begin(settings: Settings, proposal: "Proposal", wanted: Wanted, table: "Path | QueryResult") -> "Begun":
    from brandhouse_authoring.answers import answer_from_proposal
    from brandhouse_authoring.beginning import begin_brand
    from brandhouse_shared.ledger import open_ledger

    owner = wanted.owner or _git_user() or settings.actor
    values = answer_from_proposal(proposal, owner=owner, budget_eur_month=0, title=wanted.title)
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger:
        return begin_brand(settings, values, table if isinstance(table, Path) else table.file, ledger)


def _enter_owner(settings: Settings) -> str | None:
    """Name the brand's owner where code hosting looks for whom to ask; return what there is to say about it."""
    from brandhouse_authoring.owners import FILE, OwnershipError, is_current, list_owners, render_codeowners, write_codeowners

    if not (settings.root / FILE).is_file():
        return None
    try:
        text = render_codeowners(list_owners(settings))
    except OwnershipError as error:
        return f"{FILE} still lacks the brand: {error}; then run `brandhouse owners --write`"
    if not is_current(settings, text):
        write_codeowners(settings, text)
    return f"{FILE} names the owner now; commit it with the folder"


def _git_user() -> str | None:
    try:
        done = subprocess.run(["git", "config", "user.email"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


# -- what is printed -------------------------------------------------------------------------------------------------


def _document(proposal: "Proposal", begun: "Begun", settings: Settings) -> dict[str, Any]:
    brand = begun.brand
    return {
        "brand": brand.name,
        "model": proposal.model,
        "folder": str(brand.folder.relative_to(settings.root)),
        "files": list(begun.files),
        "owner": brand.config.owner,
        "task": proposal.task.value,
        "target": proposal.target,
        "metric": proposal.metric,
        "rows": proposal.rows,
        "sampled_rows": proposal.sampled_rows,
        "inputs": list(proposal.inputs),
        "left_out": [{"column": item.column, "reason": item.reason} for item in proposal.left_out],
        "decisions": [asdict(decision) for decision in proposal.decisions],
        "questions": [asdict(question) for question in proposal.questions],
        "can_be_upgraded": begun.is_template_kept,
        "has_predecessor": begun.has_predecessor,
        "next": _next_commands(proposal),
    }


def _next_commands(proposal: "Proposal") -> list[str]:
    key = f"{proposal.brand}/{proposal.model}"
    return [
        f"brandhouse check {proposal.brand}",
        f"brandhouse train {key}",
        f"brandhouse predict {key} --sample 1",
        f"brandhouse keys create {proposal.brand}",
        "brandhouse serve",
    ]


def _print(document: dict[str, Any], proposal: "Proposal") -> None:
    rows = [[ATTENTION if item.attention else "", item.subject, item.decision, item.why] for item in proposal.decisions]
    print_table(["", "what", "decided", "why"], rows, title=f"{document['folder']}: {document['task']} of {document['target']}")
    for line in _to_look_at(document, proposal):
        print(line)
    print("\nnext:")
    for command in document["next"]:
        print(f"  {command}")


def _to_look_at(document: dict[str, Any], proposal: "Proposal") -> Sequence[str]:
    lines = []
    flagged = sum(item.attention for item in proposal.decisions)
    if flagged:
        lines.append(f"look at the {flagged} line(s) marked {ATTENTION}; brand.toml holds them beside what they are about")
    if proposal.questions:
        columns = ", ".join(question.column for question in proposal.questions)
        lines.append(f"for you to decide: {columns} (kept as inputs or left out as shown; --keep and --leave-out, or brand.toml)")
    lines.append(f"owner: {document['owner']} (the owner approves changes of the folder; --owner, or brand.toml)")
    if document["approval"]:
        lines.append(document["approval"])
    if document["has_predecessor"]:
        name = document["brand"]
        lines.append(
            f"an earlier brand {name} left versions or API keys in the ledger, and they are this one's now: brandhouse keys list {name}"
        )
    if not document["can_be_upgraded"]:
        lines.append("the workspace is in no Git repository: later changes of the template cannot be merged into this folder")
    return ["", *lines]


# -- where a database is ---------------------------------------------------------------------------------------------


def find_variable(name: str, sql: str | None, sql_env: str | None) -> str | None:
    """Return the environment variable that holds a database's URL, None if neither option is given.

    Raises:
        BrandhouseError: If a URL was given instead of a variable, or both options.
    """
    if sql is None:
        return sql_env
    variable = sql.removeprefix("env:")
    if sql_env is not None or variable == sql:
        raise BrandhouseError(_refuse_url(name))
    return variable


def _refuse_url(name: str) -> str:
    variable = f"BRANDHOUSE_SECRET_{name.upper()}_SQL_URL"
    return (
        "--sql takes no URL: it holds a password, which would stay in the shell's history, in the list of processes and in brand.toml. "
        f"Put it into an environment variable of the brand's own and name that, once: read -rs {variable}; export {variable}; "
        f"brandhouse new {name} --sql env:{variable} --query ..."
    )
