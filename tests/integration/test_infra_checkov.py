"""checkov on the stacks of AWS, in an environment of its own: it wants older versions of what we use."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.infra_house import read_house, write_house

from brandhouse_infra.stacks import BrandStack, PlatformStack
from brandhouse_infra.targets.aws import AwsTarget

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".tools" / "checkov"
VERSION = "3.3.30"
CONFIG = ROOT / "infra" / "checkov.yaml"
EXCEPTIONS = re.findall(r"^  - (CKV\w+)$", CONFIG.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def checkov() -> str:
    command = PLACE / "bin" / "checkov"
    if not command.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
        subprocess.run([str(PLACE / "bin" / "python"), "-m", "pip", "install", "--quiet", f"checkov=={VERSION}"], check=True)
    return str(command)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    brands, environment = read_house(write_house(tmp_path_factory.mktemp("house") / "work"))
    stacks = [
        PlatformStack(environment, AwsTarget()),
        *(BrandStack(brands[name], environment, AwsTarget()) for name in ("auto", "auto_deals")),
    ]
    return {stack.name: stack.as_document() for stack in stacks}


def run(checkov: str, folder: Path, documents: dict[str, dict[str, Any]], *arguments: str) -> list[str]:
    """Ids of the checks that failed; in a stack that checkov could not read, the test fails."""
    for name, document in documents.items():
        place = folder / name
        place.mkdir(parents=True)
        # checkov cannot read the version of Terraform that a stack asks for, and then reads nothing else.
        readable = {part: blocks for part, blocks in document.items() if part != "terraform"}
        (place / "cdk.tf.json").write_text(json.dumps(readable, indent=1))
    done = subprocess.run([checkov, "-d", str(folder), "-o", "json", *arguments], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    results = found if isinstance(found, list) else [found]
    assert all(result["summary"]["parsing_errors"] == 0 for result in results), done.stderr[-2000:]
    assert sum(result["summary"]["passed"] for result in results) > 100, "checkov looked at little"
    return [failed["check_id"] for result in results for failed in result["results"]["failed_checks"]]


def test_the_stacks_pass_but_for_the_exceptions(checkov: str, documents: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert run(checkov, tmp_path, documents, "--config-file", str(CONFIG)) == []


def test_each_exception_is_needed_and_has_its_reason_above_it(checkov: str, documents: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    failed = set(run(checkov, tmp_path, documents, "--framework", "terraform_json", "--skip-download"))
    assert failed == set(EXCEPTIONS)
    lines = CONFIG.read_text().splitlines()
    assert all(above.startswith("  # ") for above, line in itertools.pairwise(lines) if line.startswith("  - CKV"))


def test_checkov_notices_a_bucket_whose_encryption_was_dropped(checkov: str, documents: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    broken = json.loads(json.dumps(documents))
    broken["auto"]["resource"]["aws_s3_bucket_server_side_encryption_configuration"]["data"]["rule"] = [{}]
    broken["auto"]["resource"]["aws_ecr_repository"]["images"]["image_tag_mutability"] = "MUTABLE"
    broken["auto"]["resource"]["aws_s3_bucket_public_access_block"]["data"]["block_public_acls"] = False
    arguments = ("--framework", "terraform_json", "--skip-download", "--skip-check", ",".join(set(EXCEPTIONS) - {"CKV_AWS_145"}))
    failed = run(checkov, tmp_path, broken, *arguments)
    assert {"CKV_AWS_145", "CKV_AWS_51", "CKV_AWS_53"} <= set(failed), failed
    assert failed.count("CKV_AWS_145") == 2, "the platform's log bucket is one, the broken one is another"
