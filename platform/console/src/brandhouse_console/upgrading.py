"""`brandhouse upgrade`: bring the template's changes to one brand, or to a ring of brands."""

import sys
from typing import TYPE_CHECKING, Any

from brandhouse_console.output import print_json, print_table
from brandhouse_shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from brandhouse_authoring.rings import RingResult
    from brandhouse_authoring.upgrading import Upgrade


def adopt(name: str, *, as_json: bool) -> None:
    """Let a folder that a person wrote follow the template from now on."""
    from brandhouse_authoring.answers import ANSWERS_FILE
    from brandhouse_authoring.upgrading import adopt as write_answers

    answers = write_answers(load_settings(), name)
    if as_json:
        print_json({"brand": name, "template": answers.template, "managed": answers.managed})
        return
    print(f"{name}: {ANSWERS_FILE} written, commit it; the template's later changes reach {', '.join(answers.managed or ())} and new files")


def upgrade(name: str, *, dry_run: bool, yes: bool, with_conflicts: bool, as_json: bool) -> None:
    """Show what the template's changes mean for a brand, and write them if a person agrees.

    Exit status 1: there are conflicts, or nothing was written for want of an answer.

    Args:
        name: The brand.
        dry_run: Show, and write nothing.
        yes: Write without asking.
        with_conflicts: Write also what conflicts, with markers, without asking.
        as_json: Print one JSON object.
    """
    from brandhouse_authoring.upgrading import plan_upgrade, write_upgrade

    settings = load_settings()
    planned = plan_upgrade(settings, name)
    if not as_json:
        _print_plan(planned)
    is_written = not dry_run and not planned.is_current and _is_wanted(planned, yes=yes, with_conflicts=with_conflicts, may_ask=not as_json)
    if is_written:
        write_upgrade(settings, planned)
    if as_json:
        print_json(_document(planned, is_written=is_written))
    else:
        _print_end(planned, dry_run=dry_run, is_written=is_written)
    if planned.merge.conflicts or not (is_written or dry_run or planned.is_current):
        sys.exit(1)


def _is_wanted(planned: "Upgrade", *, yes: bool, with_conflicts: bool, may_ask: bool) -> bool:
    if with_conflicts or (yes and not planned.merge.conflicts):
        return True
    if not may_ask or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    import typer

    if planned.merge.conflicts:
        return typer.confirm("Write the conflicts with markers, to be resolved by hand?", default=False)
    return typer.confirm("Write these changes?", default=True)


def _print_plan(planned: "Upgrade") -> None:
    if planned.is_current:
        return
    print(planned.diff(), end="")
    rows = [[file.path, file.change, file.note] for file in planned.merge.files]
    print_table(["file", "change", "why"], rows, empty="the template changed in nothing that reaches this brand's files")


def _print_end(planned: "Upgrade", *, dry_run: bool, is_written: bool) -> None:
    name = planned.brand
    if planned.is_current:
        print(f"{name}: is at today's template")
    elif is_written and planned.merge.conflicts:
        files = ", ".join(file.path for file in planned.merge.conflicts)
        print(f"{name}: written; resolve the marked lines in {files}, then `brandhouse check {name}`")
    elif is_written:
        print(f"{name}: written; look at `git diff brands/{name}`, then `brandhouse check {name}` and commit")
    elif dry_run:
        print(f"{name}: nothing was written (--dry-run)")
    elif planned.merge.conflicts:
        print(f"{name}: nothing was written, because of the conflicts; --with-conflicts writes them with markers, to be resolved by hand")
    else:
        print(f"{name}: nothing was written; --yes writes it")


def _document(planned: "Upgrade", *, is_written: bool) -> dict[str, Any]:
    return {
        "brand": planned.brand,
        "from": planned.base,
        "to": planned.answers.template,
        "current": planned.is_current,
        "files": [{"path": file.path, "change": file.change, "note": file.note} for file in planned.merge.files],
        "conflicts": [file.path for file in planned.merge.conflicts],
        "written": is_written,
        "diff": planned.diff(),
    }


# -- rings -----------------------------------------------------------------------------------------------------------


def upgrade_ring(ring: str, *, dry_run: bool, as_json: bool) -> None:
    """Try a ring's upgrade in copies, write it if no brand became worse, and say where the report is.

    Exit status 1: a brand stopped the ring, and none of it was written.
    """
    from brandhouse_authoring.rings import Ring
    from brandhouse_authoring.rings import upgrade_ring as carry_out
    from brandhouse_console.progress import show_steps
    from brandhouse_shared.artifacts import load_artifact_store
    from brandhouse_shared.ledger import open_ledger

    settings = load_settings()
    with open_ledger(settings.ledger_url.get_secret_value()) as ledger, show_steps(f"ring {ring}", silent=as_json) as step:
        result = carry_out(settings, Ring(ring), ledger, load_artifact_store(settings), step, dry_run=dry_run)
    print_json(result.as_document()) if as_json else _print_ring(settings, result)
    if result.stopped_by is not None:
        sys.exit(1)


def _print_ring(settings: Settings, result: "RingResult") -> None:
    print_table(
        ["brand", "state", "why"], [[one.brand, one.state, one.detail] for one in result.brands], empty="no brand follows the template"
    )
    if result.unmanaged:
        print(f"not reached, no answers file: {', '.join(result.unmanaged)} (brandhouse upgrade BRAND --adopt)")
    stopped = result.stopped_by
    print(f"stopped by {stopped.brand}; no brand of the ring was written" if stopped else "no brand became worse")
    report = result.report
    if report is not None:
        shown = report.relative_to(settings.root) if report.is_relative_to(settings.root) else report
        print(f"report: {shown}")
