"""What Terraform needs around it while it works on stacks: variables, and one provider process for all of them."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from brandhouse_infra.errors import InfraError
from brandhouse_infra.providers.mirrors import HOST, write_mirror
from brandhouse_shared.settings import Settings

QUIET = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
STACK_FILE = "cdk.tf.json"


class ProviderStartError(InfraError):
    """A provider process of ours did not come up."""


@contextlib.contextmanager
def offline_session(settings: Settings, folders: Sequence[Path], *, source: str, version: str) -> Iterator[Mapping[str, str]]:
    """Let Terraform validate and plan AWS stacks with nothing but what is installed here.

    Args:
        settings: Of the process; its home keeps extracted schemas and the mirror.
        folders: Of the stacks: whose resource types must be known.
        source: The provider's address.
        version: Which the stacks ask for.
    """
    from brandhouse_infra.providers.schema_replica.schema_files import ensure_schema_file

    place = settings.home / "infra" / "offline"
    resources, data_sources = kinds_in(folders)
    schema = ensure_schema_file(place, resources, data_sources)
    arguments = ["-m", "brandhouse_infra.providers.schema_replica", str(schema)]
    config = write_mirror(place, source, version, arguments)
    with attached_provider(arguments) as reattach:
        yield {**QUIET, "TF_CLI_CONFIG_FILE": str(config), "TF_REATTACH_PROVIDERS": json.dumps({f"{HOST}/{source}": json.loads(reattach)})}


@contextlib.contextmanager
def online_session(settings: Settings) -> Iterator[Mapping[str, str]]:
    """Let Terraform work as it does for everyone, with the caller's credentials; a provider is downloaded once for all stacks."""
    cache = settings.home / "infra" / "plugins"
    cache.mkdir(parents=True, exist_ok=True)
    yield {**QUIET, "TF_PLUGIN_CACHE_DIR": str(cache)}


@contextlib.contextmanager
def attached_provider(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a provider of ours for as long as the context lasts; yield what Terraform must be told of it, as JSON.

    Raises:
        ProviderStartError: If it does not come up, with the end of what it said.
    """
    command = [sys.executable, *arguments, "--reattach"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise ProviderStartError(
                    f"the provider process ended with {process.wait(5)} before it answered; started as {' '.join(arguments[:2])}"
                )
            yield line.strip()
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


def kinds_in(folders: Iterable[Path]) -> tuple[set[str], set[str]]:
    """Types of resources and of data sources that stacks use."""
    resources: set[str] = set()
    sources: set[str] = set()
    for folder in folders:
        document = json.loads((folder / STACK_FILE).read_text(encoding="utf-8"))
        resources |= document.get("resource", {}).keys()
        sources |= document.get("data", {}).keys()
    return resources, sources
