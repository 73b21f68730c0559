"""The pictures of stacks are what the code writes, and leave nothing out."""

from pathlib import Path

import pytest

from brandhouse_infra.blocks import Blocks
from brandhouse_infra.drawing import UndrawnError, boxes_of, draw, pictures

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def test_pictures_in_the_docs_are_what_the_code_draws() -> None:
    stale = [name for name, picture in pictures().items() if (IMAGES / name).read_text(encoding="utf-8") != picture]
    assert not stale, f"{stale}: run `make drawings`"


def test_a_picture_counts_what_stands_and_says_what_it_names() -> None:
    blocks = Blocks({})
    key = blocks.resource("aws_kms_key", "own", description="x")
    for name in ("one", "two"):
        blocks.resource("aws_s3_bucket", name, bucket=name, key=key.arn)
    data, own = boxes_of(blocks.as_document({}))
    assert data.kinds == (("aws_s3_bucket", 2),) and data.names == {"key"} and own.names == frozenset()
    picture = draw("Two buckets", [data, own])
    assert "2 x s3 bucket" in picture and "uses key" in picture


def test_a_type_that_no_picture_knows_is_an_error() -> None:
    blocks = Blocks({})
    blocks.resource("aws_lambda_function", "new", role="x")
    with pytest.raises(UndrawnError, match="aws_lambda_function"):
        boxes_of(blocks.as_document({}))
