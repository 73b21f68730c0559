"""Whose stacks a change touches."""

import pytest

from brandhouse_console.infra_matrix import touched_stacks

BRANDS = ["auto", "auto_deals", "casa"]


@pytest.mark.parametrize(
    ("files", "touched"),
    [
        (["brands/auto/brand.toml"], ["auto"]),
        (["brands/auto_deals/brand.toml", "brands/casa/src/brand_casa/price.py"], ["auto_deals"]),
        (["brands/gone/brand.toml"], []),
        (["infra/environments.toml"], BRANDS),
        (["infra/src/brandhouse_infra/site.py", "brands/auto/brand.toml"], BRANDS),
        (["infra/README.md", "docs/index.md", "brands/casa/README.md"], []),
    ],
)
def test_a_change_touches_the_stacks_that_are_made_from_it(files: list[str], touched: list[str]) -> None:
    assert touched_stacks(files, BRANDS) == touched
