"""What names a brand's owner: an e-mail address, or a user or team of the code hosting. Nothing is asked over the network."""

import re

_ADDRESS = re.compile(r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})(?:/[A-Za-z0-9_.-]+)?|[^\s@#\"'\\]+@[^\s@#\"'\\]+\.[^\s@#\"'\\.]+")


def is_owner_address(owner: str) -> bool:
    """Whether code hosting can ask this owner for approval: `team@house.example`, `@user` or `@organisation/team`."""
    return _ADDRESS.fullmatch(owner) is not None
