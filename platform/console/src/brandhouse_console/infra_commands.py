"""The commands of infrastructure: synth, plan, apply, drift, destroy. Declarations only; the work is in modules of their own."""

from pathlib import Path
from typing import Annotated

import typer

from brandhouse_console.arguments import AsJson, BrandArguments, complete_brand

infra_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Terraform stacks: one a brand and environment, and `platform` for what all share."
)

Tenant = Annotated[str, typer.Argument(metavar="BRAND", autocompletion=complete_brand)]
Everything = Annotated[bool, typer.Option("--all", help="All brands.")]
TargetName = Annotated[str, typer.Option("--target", help="aws, or local: this machine and on-premises.")]
EnvironmentName = Annotated[str, typer.Option("--environment", help="As declared in infra/environments.toml.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nobody: everything looks new, nothing can be applied.")]
Confirm = Annotated[str, typer.Option("--confirm", metavar="BRAND", help="The brand's name, to agree to the end of its data.")]


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    infra_app.command("synth")(synth)
    infra_app.command("plan")(plan)
    infra_app.command("apply")(apply)
    infra_app.command("drift")(drift)
    infra_app.command("destroy")(destroy)
    infra_app.command("local-services")(local_services)
    infra_app.command("matrix")(matrix)
    app.add_typer(infra_app, name="infra")


def synth(
    brand: BrandArguments = None,
    everything: Everything = False,
    target: TargetName = "aws",
    environment: EnvironmentName = "production",
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write into. Default: infra/ below the home.", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write stacks as cdk.tf.json, one folder each; `terraform` works in them too. `platform` names the shared stack."""
    from brandhouse_console import infrastructure

    infrastructure.synth(_tenants(brand, everything), target=target, environment=environment, output=output, as_json=as_json)


def plan(
    brand: BrandArguments = None,
    everything: Everything = False,
    target: TargetName = "aws",
    environment: EnvironmentName = "production",
    offline: Offline = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write it as a comment for a pull request.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan stacks and save the plans: what would change, what it costs a month, and whether the budget covers it."""
    from brandhouse_console import infrastructure

    asked = infrastructure.Asked(target, environment, as_json)
    infrastructure.plan(_tenants(brand, everything), asked, offline=offline, markdown=markdown)


def apply(
    brand: Tenant,
    target: TargetName = "aws",
    environment: EnvironmentName = "production",
    confirm: Confirm = "",
    as_json: AsJson = False,
) -> None:
    """Apply the saved plan of a stack. One that would lose data is refused unless the brand is leaving and its name is typed."""
    from brandhouse_console import infrastructure

    infrastructure.apply(brand, infrastructure.Asked(target, environment, as_json), confirm=confirm)


def drift(
    brand: BrandArguments = None,
    everything: Everything = False,
    target: TargetName = "aws",
    environment: EnvironmentName = "production",
    as_json: AsJson = False,
) -> None:
    """Compare what is there with what the code says; exit 1 if anything differs. Changes nothing."""
    from brandhouse_console import infrastructure

    infrastructure.drift(_tenants(brand, everything), infrastructure.Asked(target, environment, as_json))


def destroy(
    brand: Tenant,
    target: TargetName = "aws",
    environment: EnvironmentName = "production",
    confirm: Confirm = "",
    as_json: AsJson = False,
) -> None:
    """End the stack of a brand that leaves (`leaving = true`); its store must be empty."""
    from brandhouse_console import infrastructure

    infrastructure.destroy(brand, infrastructure.Asked(target, environment, as_json), confirm=confirm)


def local_services(environment: EnvironmentName = "production") -> None:
    """Run the store and the database of the local target on this machine until Ctrl-C; their data stay below the home."""
    from brandhouse_console import local_services as services

    services.run(environment)


def matrix(
    base: Annotated[str, typer.Option("--base", metavar="REF", help="Branch, tag or commit to compare with, such as origin/main.")],
    environment: EnvironmentName = "production",
) -> None:
    """Print whose stacks a change touches as one line of JSON for a workflow's matrix: brand, deployment environment, approval."""
    from brandhouse_console import infra_matrix

    infra_matrix.matrix(base, environment)


def _tenants(brand: list[str] | None, everything: bool) -> list[str] | None:
    if bool(brand) == everything:
        raise typer.BadParameter("name brands, or give --all", param_hint="BRAND")
    return brand or None
