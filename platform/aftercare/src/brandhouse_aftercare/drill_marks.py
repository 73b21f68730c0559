"""What tells a drill's stage changes from others."""

ACTOR = "rollback drill"
NAME = "rollback"
"""Name of the entries of drills."""

SHARE = 1e-30
"""Of the requests, for the drill's canary: so few that no request's hash is below it. The gateways do all else as for any canary."""
