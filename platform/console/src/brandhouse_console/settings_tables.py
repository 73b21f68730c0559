"""The reference of the settings as Markdown, from the docstrings of `Settings`."""

from brandhouse_shared.settings import Settings

INTRODUCTION = """# Reference: settings

Generated from `brandhouse_shared.settings` by `make format`; `make lint` fails if it is stale. Read from the environment once,
when a process starts; never from `brand.toml`. Secrets are never shown.

| variable | meaning |
|---|---|
"""


def settings_reference() -> str:
    """Markdown of all settings, in their order."""
    prefix = Settings.model_config["env_prefix"]
    described = {name: " ".join((field.description or "").split()) for name, field in Settings.model_fields.items()}
    return INTRODUCTION + "".join(f"| `{prefix}{name.upper()}` | {text} |\n" for name, text in described.items())
