"""The `brandhouse` command. It composes flows and serving, which do not know each other."""
