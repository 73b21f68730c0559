"""The command line: what each command is called and takes. What it does is in the module it imports when it is run.

Nothing heavy is imported here: `--help` and completion answer in a fraction of a second.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brandhouse_console import (
    aftercare_commands,
    authoring_commands,
    data_commands,
    experiment_commands,
    infra_commands,
    repository_commands,
    serving_commands,
)
from brandhouse_console.arguments import (
    AsJson,
    BrandArgument,
    BrandArguments,
    CheckFormat,
    Host,
    ModelArgument,
    Port,
    PromotedStage,
    Reason,
    TargetArguments,
    Workers,
    complete_brand,
)
from brandhouse_shared.secret_files import adopt_secrets, home_of

app = typer.Typer(
    name="brandhouse",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing the renderer would double the time of --help
    pretty_exceptions_enable=False,
    help="One repository in which a media house of many brands runs machine learning in production.",
)
keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys: created and shown once, stored hashed.")
ledger_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The ledger's schema.")
app.add_typer(keys_app, name="keys")
app.add_typer(ledger_app, name="ledger")
authoring_commands.add_to(app)
data_commands.add_to(app)
repository_commands.add_to(app)
experiment_commands.add_to(app)
serving_commands.add_to(app)
aftercare_commands.add_to(app)
infra_commands.add_to(app)


class Scope(StrEnum):
    """What a key may allow, as the gateway knows it."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    READ = "read"
    ADMIN = "admin"


@app.command()
def check(
    brand: BrandArguments = None,
    form: Annotated[CheckFormat, typer.Option("--format", help="text; json; github: remarks beside the lines of a change.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Say whether brand folders are good brands: every problem at once, with line, reason and fix. Warnings do not fail."""
    from brandhouse_console import checking

    checking.check(brand or [], form="json" if as_json else form)


@app.command()
def ingest(
    brand: BrandArgument,
    file: Annotated[Path | None, typer.Option("--from", help="File to hand over as the dataset's new content.", dir_okay=False)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Default: all; with --from, the one that takes files.")] = None,
    accept_new: Annotated[bool, typer.Option("--accept-new", help="Take bytes that differ from the pointer as a new snapshot.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a brand's data in: check the contract, put bad rows in quarantine, write the pointer, push to its remote."""
    from brandhouse_console import ingestion

    ingestion.ingest(brand, file=file, dataset=dataset, accept_new=accept_new, as_json=as_json)


@app.command()
def train(
    target: TargetArguments = None,
    everything: Annotated[bool, typer.Option("--all", help="All models of all brands.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing changed.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Run through the Prefect server of `brandhouse up`.")] = False,
    params: Annotated[list[str] | None, typer.Option("--params", metavar="NAME=VALUE", help="A param to replace; repeatable.")] = None,
    estimator: Annotated[str, typer.Option("--estimator", metavar="CANDIDATE", help="Train this candidate of brand.toml only.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge, show gates and comparison; register nothing.")] = False,
    sample: Annotated[str, typer.Option("--sample", metavar="N|SHARE", help="Learn from a part of the rows; registers nothing.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train models, or all models of brands, through the template: baselines, gates, card, registration."""
    if bool(target) == everything:
        raise typer.BadParameter("name what to train, or give --all", param_hint="BRAND[/MODEL]")
    from brandhouse_console import running

    asked = running.Asked(tuple(params or ()), estimator, sample, dry_run)
    running.train(target or [], force=force, server=server, asked=asked, as_json=as_json)


@app.command()
def register(as_json: AsJson = False) -> None:
    """Make the Prefect server's deployments equal to what the brands declare, and print the difference."""
    from brandhouse_console import running

    running.register(as_json=as_json)


@app.command()
def serve(
    brand: BrandArguments = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    workers: Workers = None,
) -> None:
    """Answer predictions for all brands, or for the ones named."""
    from brandhouse_console import answering

    answering.serve(brand or [], host=host, port=port, workers=workers)


@app.command()
def predict(
    model: ModelArgument,
    instance: Annotated[str | None, typer.Option("--json", help="One instance as a JSON object, or several as a list.")] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="Answer this many held-out rows instead.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Ask this gateway instead of answering here; the key comes from BRANDHOUSE_KEY.")
    ] = None,
) -> None:
    """Predict with the version in production, exactly as the API does; the answer is logged like any other."""
    if (instance is None) == (sample is None):
        raise typer.BadParameter("give either an instance, such as '{...}', or a number of held-out rows", param_hint="--json / --sample")
    from brandhouse_console import answering

    answering.predict(model, instance=instance, sample=sample, url=url)


@app.command()
def versions(model: ModelArgument, as_json: AsJson = False) -> None:
    """List a model's versions, newest first, with score, gates and stage."""
    from brandhouse_console import stages

    stages.versions(model, as_json=as_json)


@app.command()
def promote(
    model: ModelArgument,
    reason: Reason,
    version: Annotated[str | None, typer.Option("--version", help="Version, such as v3. Default: the newest candidate.")] = None,
    to: Annotated[PromotedStage, typer.Option("--to", help="Stage to move it to.")] = "production",
    share: Annotated[
        float | None,
        typer.Option("--share", help="Of the requests, for a canary, above 0 and below 1; a running one may get another. Default: 0.1."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Although its gates failed.")] = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="Agree to it; it goes there when enough people have. For risk = high: two different ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move a version to a stage; serving follows within a second."""
    from brandhouse_console import stages

    stages.promote(model, reason=reason, version=version, to=to, share=share, force=force, approve=approve, as_json=as_json)


@app.command()
def rollback(
    model: ModelArgument,
    reason: Reason,
    to: Annotated[str | None, typer.Option("--to", help="Version to go back to. Default: the one in production before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put the version back that was in production before."""
    from brandhouse_console import stages

    stages.rollback(model, reason=reason, to=to, as_json=as_json)


@app.command()
def retire(
    target: Annotated[str, typer.Argument(metavar="BRAND[/MODEL]", autocompletion=complete_brand)],
    reason: Reason,
    version: Annotated[
        str | None, typer.Option("--version", help="Such as v3, to end its shadow or canary. Default: the one in production.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--export", metavar="FILE", help="Of a brand: where its archive is written.")] = None,
    confirm: Annotated[str, typer.Option("--confirm", metavar="BRAND", help="Of a brand: its name, to do it. Without: a dry run.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take a model out of production, or end a version's shadow or canary; or let a whole brand leave (`leaving = true`)."""
    if "/" in target:
        from brandhouse_console import stages

        stages.retire(target, reason=reason, version=version, as_json=as_json)
    else:
        from brandhouse_console import leaving

        leaving.leave(target, reason=reason, export_to=to, confirmed=confirm, as_json=as_json)


@app.command()
def history(model: ModelArgument, as_json: AsJson = False) -> None:
    """List every stage change of a model: who, when, why, from, to."""
    from brandhouse_console import stages

    stages.history(model, as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show all models at a glance."""
    from brandhouse_console import overview

    overview.status(as_json=as_json)


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    prefect_port: Annotated[int | None, typer.Option(help="Port of the Prefect server. Default: BRANDHOUSE_PREFECT_PORT or 4200.")] = None,
    workers: Workers = None,
) -> None:
    """Keep everything running on this machine until Ctrl-C: Prefect, worker, gateway."""
    from brandhouse_console import local_stack

    local_stack.up(host=host, port=port, prefect_port=prefect_port, workers=workers)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: 8080, or a free one.")] = None,
    prefect_port: Annotated[int | None, typer.Option(help="Port of the Prefect server. Default: 4200, or a free one.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running after the summary, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story with all brands: train through the server, gate, promote, serve, predict; then a summary."""
    from brandhouse_console import demonstration

    demonstration.demo(port=port, prefect_port=prefect_port, keep=keep, as_json=as_json)


@keys_app.command("create")
def keys_create(
    brand: BrandArgument,
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="What the key allows; may be repeated. Default: predict, feedback, read."),
    ] = None,
    expires_days: Annotated[int | None, typer.Option("--expires-days", min=1, help="Days until it expires. Default: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key for a brand and show it, once."""
    from brandhouse_console import key_ring

    key_ring.create(brand, scopes=[str(one) for one in scope or []], expires_days=expires_days, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(
    brand: BrandArgument,
    key_id: Annotated[str | None, typer.Option("--key-id", help="The key's id. Default: all keys of the brand.")] = None,
    reason: Reason = "revoked by hand",
    as_json: AsJson = False,
) -> None:
    """Revoke keys of a brand; takes effect within a second."""
    from brandhouse_console import key_ring

    key_ring.revoke(brand, key_id=key_id, reason=reason, as_json=as_json)


@keys_app.command("list")
def keys_list(brand: BrandArgument, as_json: AsJson = False) -> None:
    """List a brand's keys: never the keys themselves."""
    from brandhouse_console import key_ring

    key_ring.listing(brand, as_json=as_json)


@ledger_app.command("upgrade")
def ledger_upgrade() -> None:
    """Bring the ledger's schema to this release; a SQLite ledger is copied aside first."""
    from brandhouse_console import overview

    overview.upgrade_ledger()


def main() -> None:
    """Run the command; an error of the platform is one message and exit status 1, never a stack trace."""
    import gc
    import os
    import sys

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them reads the metadata of every installed package
    # Reading a thousand brands makes many small objects that all stay; looking for cycles among them takes a quarter of the time.
    gc.set_threshold(100_000, 20, 20)
    try:
        adopt_secrets(home_of(os.environ), os.environ)
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from brandhouse_shared.errors import BrandhouseError

        if not isinstance(error, BrandhouseError):
            raise
        print(f"brandhouse: {error}", file=sys.stderr)
        sys.exit(1)
