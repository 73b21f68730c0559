"""`brandhouse owners`: who approves a change of what, and the file by which code hosting asks them."""

import sys

from brandhouse_authoring.owners import FILE, is_current, list_owners, render_codeowners, write_codeowners
from brandhouse_console.output import print_json, print_table
from brandhouse_shared.settings import load_settings


def owners(*, write: bool, check: bool, as_json: bool) -> None:
    """Print the owners, write the file, or say whether it is current: exit status 1 if it is not."""
    settings = load_settings()
    listed = list_owners(settings)
    text = render_codeowners(listed)
    fresh = is_current(settings, text)
    if write and not fresh:
        write_codeowners(settings, text)
    if as_json:
        print_json({"file": FILE, "current": fresh or write, "owners": [{"pattern": one.pattern, "owner": one.owner} for one in listed]})
    elif write:
        print(f"{FILE} is current" if fresh else f"wrote {FILE}")
    elif not check:
        print_table(["pattern", "owner"], [(one.pattern, one.owner) for one in listed])
    if check and not fresh:
        print(f"{FILE} is stale; run `brandhouse owners --write` and commit it", file=sys.stderr)
        sys.exit(1)
