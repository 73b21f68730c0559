"""The AWS provider's schema without the provider: rebuilt from the installed bindings, served offline, never applied (ADR 0031)."""
