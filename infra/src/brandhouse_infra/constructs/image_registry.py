"""Where images with a brand's code lie: scanned when they come, and a tag never means another image later."""

import json

from brandhouse_infra.blocks import Blocks, Reference
from brandhouse_infra.site import Place

KEPT_IMAGES = 30


def add_image_registry(blocks: Blocks, place: Place, key: Reference) -> Reference:
    """Add the repository and what ends old images."""
    repository = blocks.resource(
        "aws_ecr_repository",
        "images",
        tagged=True,
        keep=True,
        name=place.path,
        image_tag_mutability="IMMUTABLE",
        image_scanning_configuration={"scan_on_push": True},
        encryption_configuration=[{"encryption_type": "KMS", "kms_key": key.arn}],
    )
    blocks.resource("aws_ecr_lifecycle_policy", "images", repository=repository.name, policy=_old_images_end())
    return repository


def image(place: Place) -> str:
    """Address of the released image of a tenant."""
    environment = place.environment
    return f"{environment.account}.dkr.ecr.{environment.region}.amazonaws.com/{place.path}:{environment.release}"


def _old_images_end() -> str:
    kept = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES}
    rule = {"rulePriority": 1, "description": f"keep {KEPT_IMAGES} images", "selection": kept, "action": {"type": "expire"}}
    return json.dumps({"rules": [rule]}, sort_keys=True)
