"""Draw stacks as they are written, for the docs: `python -m brandhouse_infra.drawing FOLDER`. Nothing in a picture is put there by hand.

A box is a concern, a line in it a type of resource and how often it stands; at its foot, the concerns whose resources it names.
Arrows between so many boxes would cross; the foot says the same.
"""

import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from brandhouse_infra.environments import Environment
from brandhouse_infra.errors import InfraError
from brandhouse_infra.stacks import BrandStack, PlatformStack, Stack
from brandhouse_infra.targets.aws import AwsTarget
from brandhouse_infra.targets.local import LocalTarget
from brandhouse_shared.config import BrandConfig

CONCERNS: Mapping[str, tuple[str, ...]] = {
    "data": ("aws_s3_",),
    "key": ("aws_kms_",),
    "identity": ("aws_iam_", "local_access_key"),
    "images": ("aws_ecr_",),
    "secrets": ("aws_secretsmanager_",),
    "logs": ("aws_cloudwatch_log_group", "aws_flow_log"),
    "told": ("aws_cloudwatch_log_metric_filter", "aws_cloudwatch_metric_alarm", "aws_budgets_", "aws_sns_"),
    "tasks": ("aws_ecs_", "aws_service_discovery_"),
    "home": ("aws_efs_",),
    "firewall": ("aws_security_group", "aws_vpc_security_group_", "aws_default_security_group"),
    "entrance": ("aws_lb",),
    "database": ("aws_db_", "local_postgres_"),
    "published": ("aws_ssm_",),
    "network": (
        "aws_vpc",
        "aws_subnet",
        "aws_route",
        "aws_internet_gateway",
        "aws_nat_gateway",
        "aws_eip",
    ),
}
"""Which types are of which concern; the first that fits. A type of none is an error: a picture leaves nothing out."""

COLUMNS, BOX, GAP_X, GAP_Y, LINE, TOP, FOOT_CHARACTERS = 4, 260, 24, 24, 17, 64, 40
_REFERENCE = re.compile(r"\$\{(data\.)?([a-z0-9_]+)\.")


class UndrawnError(InfraError):
    """A type of resource belongs to no concern yet."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} belongs to no concern of the drawing; put it into CONCERNS in {Path(__file__).name}")


@dataclass(frozen=True, slots=True)
class Box:
    """One concern of a stack: what it consists of, and which others it names."""

    concern: str
    kinds: tuple[tuple[str, int], ...]
    names: frozenset[str]

    @property
    def height(self) -> int:
        """In pixels."""
        return 40 + LINE * (len(self.kinds) + len(self.foot))

    @property
    def foot(self) -> list[str]:
        """The concerns that it names, in lines that fit."""
        return textwrap.wrap(f"uses {', '.join(sorted(self.names))}", FOOT_CHARACTERS) if self.names else []


def pictures() -> dict[str, str]:
    """All pictures of the docs, by file name: an invented silo brand on both targets, and the platform."""
    environment = Environment.model_validate(_ENVIRONMENT)
    brand = BrandConfig.model_validate(_BRAND)
    titled: dict[str, tuple[str, Stack]] = {
        "stack-brand-aws.svg": ("A silo brand on AWS", BrandStack(brand, environment, AwsTarget())),
        "stack-brand-local.svg": ("A brand on machines of one's own", BrandStack(brand, environment, LocalTarget())),
        "stack-platform-aws.svg": ("What all brands share on AWS", PlatformStack(environment, AwsTarget())),
    }
    return {name: draw(title, boxes_of(stack.as_document())) for name, (title, stack) in titled.items()}


def boxes_of(document: Mapping[str, Any]) -> list[Box]:
    """Read the boxes from a stack.

    Raises:
        UndrawnError: If a type of resource belongs to no concern.
    """
    kinds: dict[str, Counter[str]] = {}
    names: dict[str, set[str]] = {}
    for kind, blocks in document["resource"].items():
        concern = concern_of(kind)
        kinds.setdefault(concern, Counter())[kind] += len(blocks)
        named = {concern_of(match[2]) for match in _REFERENCE.finditer(json.dumps(blocks)) if not match[1]}
        names.setdefault(concern, set()).update(named - {concern})
    return [Box(concern, tuple(sorted(kinds[concern].items())), frozenset(names[concern])) for concern in CONCERNS if concern in kinds]


def concern_of(kind: str) -> str:
    """The concern of a type of resource."""
    for concern, prefixes in CONCERNS.items():
        if kind.startswith(prefixes):
            return concern
    raise UndrawnError(kind)


def draw(title: str, boxes: Sequence[Box]) -> str:
    """Draw boxes in columns, each put where there is most room."""
    places, height = _arrange(boxes)
    columns = min(COLUMNS, len(boxes))
    width = columns * BOX + (columns + 1) * GAP_X
    parts = [_box(box, *places[box.concern]) for box in boxes]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        f'<text x="{GAP_X}" y="36" font-size="20" fill="#1d2433">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _arrange(boxes: Sequence[Box]) -> tuple[dict[str, tuple[int, int]], int]:
    """Left and top of each box; the height of all."""
    bottoms = [TOP] * min(COLUMNS, len(boxes))
    places = {}
    for box in boxes:
        column = bottoms.index(min(bottoms))
        places[box.concern] = (GAP_X + column * (BOX + GAP_X), bottoms[column])
        bottoms[column] += box.height + GAP_Y
    return places, max(bottoms)


def _box(box: Box, x: int, y: int) -> str:
    lines = [
        f'<text x="{x + 14}" y="{y + 44 + LINE * index}" font-size="12" fill="#3d4658">{escape(_said(kind, count))}</text>'
        for index, (kind, count) in enumerate(box.kinds)
    ]
    below = y + 44 + LINE * len(box.kinds)
    lines += [
        f'<text x="{x + 14}" y="{below + LINE * index}" font-size="12" font-style="italic" fill="#4a6fa5">{escape(text)}</text>'
        for index, text in enumerate(box.foot)
    ]
    rect = f'<rect x="{x}" y="{y}" width="{BOX}" height="{box.height}" rx="8" fill="#eef3fb" stroke="#4a6fa5"/>'
    name = f'<text x="{x + 14}" y="{y + 23}" font-size="15" font-weight="bold" fill="#1d2433">{escape(box.concern)}</text>'
    return "\n".join([rect, name, *lines])


def _said(kind: str, count: int) -> str:
    words = kind.removeprefix("aws_").replace("_", " ")
    words = words if len(words) <= 36 else f"{words[:35]}…"
    return words if count == 1 else f"{count} x {words}"


def main(arguments: Iterable[str]) -> None:
    """Write all pictures into a folder."""
    (folder,) = arguments
    for name, picture in pictures().items():
        (Path(folder) / name).write_text(picture, encoding="utf-8")


_ENVIRONMENT = {
    "name": "production",
    "repository": "house/brands",
    "account": "123456789012",
    "region": "eu-central-1",
    "cidr": "10.40.0.0/16",
    "domain": "ml.house.example",
    "certificate": "arn:aws:acm:eu-central-1:123456789012:certificate/1",
    "alerts_email": "platform@house.example",
}
_BRAND = {
    "name": "brand",
    "title": "Brand",
    "story": "An invented brand.",
    "owner": "brand-data@house.example",
    "risk": "low",
    "budget_eur_month": 100,
    "isolation": "silo",
    "datasets": {"rows": {"file": "data/rows.csv", "source": {"kind": "file", "path": "rows.csv"}}},
    "models": {
        "price": {
            "entrypoint": "brand_brand.price",
            "dataset": "rows",
            "task": "regression",
            "target": "price",
            "metric": "mae",
            "inputs": {"area": {"type": "number", "min": 0}},
        }
    },
}

if __name__ == "__main__":
    main(sys.argv[1:])
