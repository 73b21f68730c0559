"""The commands for what happens after a deployment. Declarations only; the work is in modules of their own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from brandhouse_console.arguments import AsJson, BrandArgument, BrandArguments, ModelArgument, TargetArguments, complete_brand

OptionalBrand = Annotated[str | None, typer.Argument(metavar="BRAND", autocompletion=complete_brand)]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder to write into.", file_okay=False)]


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    app.command("monitor")(monitor)
    app.command("staleness")(staleness)
    app.command("alerts")(alerts)
    app.command("rules")(rules)
    app.command("dashboards")(dashboards)
    app.command("cost")(cost)
    app.command("retrain")(retrain)
    app.command("decisions")(decisions)
    app.command("progress")(progress)
    app.command("approvals")(approvals)
    app.command("drill")(drill)
    app.command("replay")(replay)
    app.command("lineage")(lineage)
    app.command("forget")(forget)
    app.command("readiness")(readiness)
    app.command("dora")(dora)


def monitor(
    targets: TargetArguments = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=366, help="Look at exactly so many days. Default: as few as have enough rows.")
    ] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Write to the ledger, but send no alerts and no events.")] = False,
    watch_the_watch: Annotated[
        bool, typer.Option("--watch-the-watch", help="Run no check; see instead that all checks of all deployed models ran in time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run all checks of the named models, or of all in production, now: data, drift, quality, volume; exit 1 if one is red."""
    from brandhouse_console import watching

    if watch_the_watch:
        watching.watch_the_watch(targets or [], silent=silent, as_json=as_json)
    else:
        watching.monitor(targets or [], days=days, silent=silent, as_json=as_json)


def staleness(
    model: ModelArgument,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the curve to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Back-test a model whose data have a time: how much worse is it when it is so many days old?"""
    from brandhouse_console import staleness as back_test

    back_test.staleness(model, html=html, as_json=as_json)


def alerts(
    brand: OptionalBrand = None,
    send: Annotated[bool, typer.Option("--send", help="Send first what waits: after a silence, in a group, or since it failed.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message over every route of BRAND instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Alerts to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who was told what, and what was held back, grouped, silenced or over budget; newest first."""
    from brandhouse_console import alert_listing

    if test:
        alert_listing.test(brand, as_json=as_json)
    else:
        alert_listing.listing(brand, send=send, limit=limit, as_json=as_json)


def retrain(
    model: ModelArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever reads the ledger.")],
    trigger: Annotated[
        str, typer.Option("--trigger", help="What asks: hand, schedule, snapshot, drift, quality, staleness or erasure.")
    ] = "hand",
    server: Annotated[bool, typer.Option("--server", help="Run through the Prefect server of `brandhouse up`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide whether a model is trained again, write down why or why not, and train: the new version must beat production."""
    from brandhouse_console import retraining

    retraining.retrain(model, reason=reason, trigger=trigger, server=server, as_json=as_json)


def decisions(
    target: TargetArguments = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Decisions to show, of each model.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List why models were trained again or not, and why versions on trial went on or not; newest first."""
    from brandhouse_console import retraining

    retraining.decisions(target or [], limit=limit, as_json=as_json)


def progress(brand: OptionalBrand = None, as_json: AsJson = False) -> None:
    """Move retrained versions from shadow to canary to production where they may go on, and list retrainings that are due."""
    from brandhouse_console import retraining

    retraining.progress(brand, as_json=as_json)


def approvals(brand: OptionalBrand = None, as_json: AsJson = False) -> None:
    """List versions that wait for people to agree: who has, and how many are missing."""
    from brandhouse_console import retraining

    retraining.approvals(brand, as_json=as_json)


def drill(model: ModelArgument, as_json: AsJson = False) -> None:
    """Practise the way back: how soon does every gateway follow to the version before and return? No answer changes."""
    from brandhouse_console import retraining

    retraining.drill(model, as_json=as_json)


def replay(
    prediction_id: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="As answers hold it in prediction_ids.")],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Also train again from the version's record, in a scratch place, and compare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say where a prediction came from, fetch its version and snapshot, compute it again, compare bit by bit; exit 1 if not sound."""
    from brandhouse_console import replaying

    replaying.replay(prediction_id, retrain=retrain, as_json=as_json)


def lineage(
    target: Annotated[
        str, typer.Argument(metavar="BRAND[/MODEL[/vN]]|SNAPSHOT", help="A brand, model or version, or the beginning of a snapshot's hash.")
    ],
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it into this file, too.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Show what came of what: snapshot, run, version, stage, predictions. From a snapshot: which versions, how many predictions."""
    from brandhouse_console import lineage as drawing

    drawing.lineage(target, svg=svg, as_json=as_json)


def rules(
    brand: OptionalBrand = None,
    output: Output = Path("monitoring/rules"),
    job: Annotated[str, typer.Option("--job", help="Name of Prometheus' scrape job of the gateway.")] = "brandhouse",
    as_json: AsJson = False,
) -> None:
    """Write alert rules for Prometheus: a file a brand, and one for the gateway they share."""
    from brandhouse_console import observability

    observability.rules(brand, output=output, job=job, as_json=as_json)


def dashboards(brand: OptionalBrand = None, output: Output = Path("monitoring/dashboards"), as_json: AsJson = False) -> None:
    """Write dashboards for Grafana: one a brand, and one of all."""
    from brandhouse_console import observability

    observability.dashboards(brand, output=output, as_json=as_json)


def forget(
    brand: BrandArgument,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="KEY", help="Value of the datasets' `subject` column; - reads it from standard input."),
    ] = None,
    prediction: Annotated[list[str] | None, typer.Option("--prediction", metavar="ID", help="A prediction of theirs; repeatable.")] = None,
    predictions_from: Annotated[
        Path | None,
        typer.Option("--predictions-from", metavar="FILE", help="File with ids of their predictions, one a line.", dir_okay=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what there is and change nothing. This is the default.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, for good.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the erasures of BRAND instead, and those that were interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find a person in snapshots, prediction log and copies of a brand; with --yes remove them everywhere and write a certificate."""
    from brandhouse_console import forgetting

    if dry_run and yes:
        raise typer.BadParameter("give one of them", param_hint="--dry-run / --yes")
    if listed:
        forgetting.listing(brand, as_json=as_json)
        return
    ids = prediction or []
    forgetting.forget(brand, subject=subject, predictions=ids, predictions_from=predictions_from, sure=yes, as_json=as_json)


def cost(
    brand: OptionalBrand = None,
    month: Annotated[str | None, typer.Option("--month", help="Such as 2026-11. Default: this one.")] = None,
    prices: Annotated[Literal["own", "aws"], typer.Option("--prices", help="Of machines of one's own, or of the cloud.")] = "own",
    measure: Annotated[bool, typer.Option("--measure", help="Measure serving and files first, as the house's flow does.")] = False,
    forgotten: Annotated[bool, typer.Option("--forgotten", help="List instead what nobody uses.")] = False,
    days: Annotated[int, typer.Option("--days", min=1, help="With --forgotten: for so long.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show what brands cost in a month, by model, against their budgets; or what nobody uses."""
    from brandhouse_console import costing

    if forgotten:
        costing.forgotten(brand, days=days, as_json=as_json)
    else:
        costing.cost(brand, month=month, table=prices, measure=measure, as_json=as_json)


def readiness(
    brands: BrandArguments = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page to this file, too.", dir_okay=False)] = None,
    try_tests: Annotated[
        bool, typer.Option("--try-tests", help="Run the brands' own tests first, and write to the ledger how they went.")
    ] = False,
    by_hand: Annotated[
        str | None,
        typer.Option(
            "--by-hand",
            metavar="MODEL:TEST",
            help="Write down instead that a test of BRAND's model, such as price:model.7, was done by hand.",
        ),
    ] = None,
    result: Annotated[str, typer.Option("--result", help="With --by-hand: what came out, in a sentence.")] = "",
    link: Annotated[str, typer.Option("--link", help="With --by-hand: where that is documented.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="With --by-hand: it turned out badly.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge models by the 28 tests of the ML Test Score, from evidence in repository and ledger; name the cheapest next point."""
    from brandhouse_console import readiness as judging

    if by_hand is None:
        judging.readiness(brands or [], html=html, try_tests=try_tests, as_json=as_json)
        return
    model, _, test = by_hand.partition(":")
    if len(brands or []) != 1 or not test:
        raise typer.BadParameter("name one BRAND, and give MODEL:TEST", param_hint="--by-hand")
    judging.note(f"{(brands or [''])[0]}/{model}", test, result=result, link=link, failed=failed, as_json=as_json)


def dora(
    brand: OptionalBrand = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Look at so many.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Show DORA's four metrics: promotions, lead time, change failure rate, time to restore; of each brand and the house."""
    from brandhouse_console import readiness as judging

    judging.dora(brand, days=days, as_json=as_json)
