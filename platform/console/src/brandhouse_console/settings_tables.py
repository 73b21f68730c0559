"""The reference of the settings as Markdown, from the docstrings of `Settings`."""

from brandhouse_console.docstrings import attribute_docstrings
from brandhouse_shared.settings import PREFIX, Settings

INTRODUCTION = """# Reference: settings

Generated from `brandhouse_shared.settings` by `make format`; `make lint` fails if it is stale. Read from the environment once,
when a process starts; never from `brand.toml`. Secrets are never shown.

| variable | meaning |
|---|---|
"""


def settings_reference() -> str:
    """Markdown of all settings, in their order."""
    described = {name: " ".join(text.split()) for name, text in attribute_docstrings(Settings).items()}
    return INTRODUCTION + "".join(f"| `{PREFIX}{name.upper()}` | {text} |\n" for name, text in described.items())
