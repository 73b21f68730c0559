"""What a brand declares about being told: routes, how many messages, and when there is silence.

Addresses are secrets: a route names environment variables of the brand's own, `BRANDHOUSE_SECRET_<BRAND>_...`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from brandhouse_shared.declarations import Declared, check_variable

LOG = "log"
"""The route that every brand has: the log of the process that found out."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Severity(StrEnum):
    """How soon somebody should look. Not the same axis as a model's risk."""

    INFO = "info"
    """Worth knowing when one looks anyway."""
    WARNING = "warning"
    """Within days."""
    CRITICAL = "critical"
    """Now: never held back by the weekly budget."""

    def reaches(self, least: "Severity") -> bool:
        """Whether it is at least as urgent as `least`."""
        ranks = list(Severity)
        return ranks.index(self) >= ranks.index(least)


class WebhookRoute(Declared):
    """An address that takes JSON by POST."""

    kind: Literal["webhook"]
    url_env: str
    """Environment variable with the URL, `BRANDHOUSE_SECRET_<BRAND>_...`."""
    header: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")
    """Name of a request header, such as Authorization."""
    header_env: str | None = None
    """Environment variable with that header's value."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.header is None) != (self.header_env is None):
            raise ValueError("header and header_env belong together: the header's name, and the variable with its value")
        for name in route_secrets(self):
            check_variable(name)
        return self


class SlackRoute(Declared):
    """An incoming webhook as Slack, Mattermost and Rocket.Chat have it: text in blocks."""

    kind: Literal["slack"]
    url_env: str
    """Environment variable with the webhook's URL, `BRANDHOUSE_SECRET_<BRAND>_...`."""

    @field_validator("url_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        return check_variable(value)


class EmailRoute(Declared):
    """Mail by SMTP."""

    kind: Literal["email"]
    server_env: str
    """Environment variable with the server: `smtps://user:password@host`, or `smtp://`, which asks for TLS (STARTTLS) unless the host
    is this machine."""
    to_env: str
    """Environment variable with the receivers' addresses, with commas between."""
    sender: str = Field(default="brandhouse@localhost", pattern=r"^[^@\s<>]+@[^@\s<>]+$")
    """Address that the mail comes from."""

    @field_validator("server_env", "to_env")
    @classmethod
    def _names_a_variable(cls, value: str) -> str:
        return check_variable(value)


Route = Annotated[WebhookRoute | SlackRoute | EmailRoute, Field(discriminator="kind")]
"""Where messages go. The route `log` needs no declaration."""


class Silence(Declared):
    """Hours in which nobody is told. What is still red when they end is told then, in one message."""

    days: tuple[Day, ...] = DAYS
    """Days on which it begins."""
    start: str = Field(default="00:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """Time of day at which it begins."""
    end: str = Field(default="00:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """Time of day at which it ends; on the next day unless it is after `start`."""
    timezone: str = "Europe/Amsterdam"
    """IANA name of the zone of both times."""
    also_critical: bool = False
    """Whether even critical alerts wait."""

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError):  # a name that is no name, a folder, and one that is not known
            raise ValueError(f"{value[:80]!r} is no time zone; allowed: an IANA name, such as Europe/Amsterdam") from None


class CheckAlerts(Declared):
    """What is different for some checks."""

    severity: Severity | None = None
    """Instead of the one that the check comes with. None: as it comes."""
    route: str | None = None
    """Instead of the brand's. None: the brand's."""
    muted: bool = False
    """Whether nobody is told; the ledger keeps it all the same."""


class Alerts(Declared):
    """Where the brand wants to be told, of what, and how often."""

    route: str = LOG
    """Name of the route for all alerts: `log`, or one declared in `[alerts.routes.<name>]`."""
    critical_route: str | None = None
    """Name of a route that gets critical alerts as well, such as a pager. None: none."""
    routes: dict[str, Route] = {}  # noqa: RUF012 - pydantic copies defaults
    min_severity: Severity = Severity.WARNING
    """Less urgent alerts are kept in the ledger and told nobody."""
    group_minutes: int = Field(default=60, ge=1, le=10_080)
    """After a message about a model, further checks of it wait this long and then come together."""
    repeat_hours: int = Field(default=24, ge=1, le=744)
    """A check that stays red is told again after this time; until then it is only counted."""
    weekly_budget: int = Field(default=20, ge=1, le=1_000)
    """Messages in seven days. More are kept in the ledger; critical ones are sent all the same. Default: three a day, which people
    still read; more than that they learn to ignore."""
    max_failure_share: float = Field(default=0.02, gt=0, lt=1)
    """Share of a model's requests that may fail through a fault of the platform or the model; for the rules of Prometheus, like the
    next. Default: one in fifty, which clients that try again hardly notice."""
    no_traffic_hours: int = Field(default=24, ge=1, le=168)
    """A model that was asked in the week before and not for so long raises an alert. Default: a day, so that a night is no alarm."""
    runbooks_url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Where the house serves the runbooks, such as `https://docs.house.example/runbooks`. None: messages name the file in the
    repository."""
    silences: dict[str, Silence] = {}  # noqa: RUF012 - pydantic copies defaults
    checks: dict[str, CheckAlerts] = {}  # noqa: RUF012 - pydantic copies defaults
    """By a check's name or a pattern such as `"drift.*"`; the first that fits counts."""

    @model_validator(mode="after")
    def _names_known_routes(self) -> Self:
        known = (LOG, *self.routes)
        problems = [f"routes: {LOG!r} is always there and cannot be declared"] if LOG in self.routes else []
        named = {"route": self.route, "critical_route": self.critical_route}
        named |= {f"checks.{name}.route": check.route for name, check in self.checks.items()}
        for key, route in named.items():
            if route is not None and route not in known:
                problems.append(f"{key}: unknown route {route[:80]!r}; known: {', '.join(known)}; declare [alerts.routes.{route[:40]}]")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def secrets(self) -> Iterator[tuple[str, str]]:
        """Each route's name with each environment variable that it reads."""
        return ((name, variable) for name, route in self.routes.items() for variable in route_secrets(route))


def route_secrets(route: WebhookRoute | SlackRoute | EmailRoute) -> list[str]:
    """Names of the environment variables that a route reads."""
    names = (getattr(route, key, None) for key in ("url_env", "header_env", "server_env", "to_env"))
    return [name for name in names if name is not None]
