"""The generated reference of `brand.toml` holds every key, where it stands and what it may be."""

import re

from brandhouse_console.brand_tables import brand_reference
from brandhouse_shared.config import BrandConfig, Gates, InputField, ModelConfig, PackageSource
from brandhouse_shared.metrics import METRICS


def section(heading: str) -> str:
    """The text below one heading."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", brand_reference(), re.DOTALL | re.MULTILINE))
    assert heading in sections, f"no section {heading}; there are {list(sections)}"
    return sections[heading]


def test_every_key_of_a_table_is_listed_in_its_section() -> None:
    tables = {
        "Top level": BrandConfig,
        "`[models.<name>]`": ModelConfig,
        "`[models.<name>.inputs.<name>]`": InputField,
        "`[models.<name>.gates]`": Gates,
        '`[datasets.<name>.source]`, `kind = "package"`': PackageSource,
    }
    for heading, shape in tables.items():
        listed = re.findall(r"^\| `(\w+)` \|", section(heading), re.MULTILINE)
        assert listed == list(shape.model_fields), f"{heading} lists other keys than it has"


def test_a_key_is_shown_with_its_values_default_and_meaning() -> None:
    assert '| `risk` | `"low"`, `"medium"`, `"high"` | required | How much harm' in section("Top level")
    assert "| `seed` | integer | `0` |" in section("`[models.<name>.split]`")
    assert "| `beat_baseline` | boolean | `true` | The gain over the best baseline" in section("`[models.<name>.gates]`")


def test_every_metric_is_listed() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("Metrics"), re.MULTILINE) == list(METRICS)
