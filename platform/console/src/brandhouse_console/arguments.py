"""Arguments and options that several commands share, with their completion. Nothing heavy is imported here."""

from typing import Annotated, Literal

import typer


def complete_model(incomplete: str) -> list[str]:
    """Offer BRAND/MODEL for the shell's completion, from the brand files alone."""
    from brandhouse_console.targets import known_models

    return [key for key in known_models() if key.startswith(incomplete)]


def complete_brand(incomplete: str) -> list[str]:
    """Offer brand names for the shell's completion, from the folders alone."""
    from brandhouse_console.targets import known_brands

    return [name for name in known_brands() if name.startswith(incomplete)]


def complete_target(incomplete: str) -> list[str]:
    """Offer brands, and their models."""
    return complete_brand(incomplete) + complete_model(incomplete)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ModelArgument = Annotated[str, typer.Argument(metavar="BRAND/MODEL", autocompletion=complete_model)]
BrandArgument = Annotated[str, typer.Argument(metavar="BRAND", autocompletion=complete_brand)]
BrandArguments = Annotated[list[str] | None, typer.Argument(metavar="BRAND", autocompletion=complete_brand)]
TargetArguments = Annotated[list[str] | None, typer.Argument(metavar="BRAND[/MODEL]", autocompletion=complete_target)]
CheckFormat = Literal["text", "json", "github"]
PromotedStage = Literal["shadow", "canary", "production"]
Reason = Annotated[str, typer.Option("--reason", help="Why; written to the ledger.")]
Host = Annotated[str, typer.Option(help="Address to bind; the default is reachable from this machine only.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes of the gateway behind its port. Default: BRANDHOUSE_WORKERS, or 1.")
]
Port = Annotated[int, typer.Option(envvar="BRANDHOUSE_PORT", help="Port of the API.")]
