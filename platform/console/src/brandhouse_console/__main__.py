"""`python -m brandhouse_console` is the `brandhouse` command."""

from brandhouse_console.main import main

main()
