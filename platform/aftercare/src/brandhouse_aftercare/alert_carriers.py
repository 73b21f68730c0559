"""Carry one message over one route: HTTP with JSON, Slack's blocks, SMTP, or the log.

Errors name neither addresses nor credentials: what they say is written to the ledger.
"""

import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from brandhouse_aftercare.alert_messages import Message, as_blocks, as_document, as_text, title_of
from brandhouse_shared.alerts import LOG, EmailRoute, SlackRoute, WebhookRoute
from brandhouse_shared.brands import Brand
from brandhouse_shared.errors import BrandhouseError

TIMEOUT_SECONDS = 10.0
TRIES = 2
PAUSE_SECONDS = 1.0
"""Between two tries of one delivery; a longer fault is for the next run."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger("brandhouse.alerts")


class NotDeliveredError(BrandhouseError):
    """A route did not take a message. The next run tries it again."""


class _PassingError(Exception):
    """A fault that may be gone in a second."""


def carry(brand: Brand, name: str, message: Message, secrets: Mapping[str, str]) -> None:
    """Carry a message over one of the brand's routes.

    Args:
        brand: Whose route it is.
        name: Of the route.
        message: What to say.
        secrets: The brand's own variables, and no others.

    Raises:
        NotDeliveredError: If the route is gone, lacks a variable, or did not take it.
    """
    route = brand.config.alerts.routes.get(name)
    match route:
        case WebhookRoute():
            headers = {route.header: _secret(secrets, route.header_env)} if route.header and route.header_env else {}
            _post(_secret(secrets, route.url_env), as_document(brand, message), {**headers, "Idempotency-Key": message.message})
        case SlackRoute():
            _post(_secret(secrets, route.url_env), as_blocks(brand, message), {})
        case EmailRoute():
            _mail(_secret(secrets, route.server_env), _letter(brand, route, message, _secret(secrets, route.to_env)))
        case None if name == LOG:
            logger.warning(as_text(brand, message))
        case _:
            raise NotDeliveredError(f"the brand has no route {name!r} any more")


def _secret(secrets: Mapping[str, str], variable: str) -> str:
    if not secrets.get(variable):
        raise NotDeliveredError(f"the environment variable {variable} is not set where this ran")
    return secrets[variable].strip()


def _post(url: str, document: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    def attempt() -> None:
        try:
            # No redirects: what an address answers must not send a brand's alerts elsewhere.
            response = httpx.post(url, json=document, headers=dict(headers), timeout=TIMEOUT_SECONDS, follow_redirects=False)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NotDeliveredError("the variable of the route holds no http or https address") from error
        except httpx.HTTPError as error:
            raise _PassingError(f"the address does not answer ({type(error).__name__})") from error
        if response.is_success:
            return
        said = f"the address answered {response.status_code}"
        raise _PassingError(said) if response.status_code == 429 or response.status_code >= 500 else NotDeliveredError(said)

    _try(attempt)


def _letter(brand: Brand, route: EmailRoute, message: Message, receivers: str) -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"] = title_of(message)
    letter["From"] = route.sender
    letter["To"] = ", ".join(part.strip() for part in receivers.split(",") if part.strip())
    letter["Date"] = format_datetime(message.at)
    letter["Message-ID"] = f"<{message.message}@brandhouse>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(as_text(brand, message))
    return letter


def _mail(server: str, letter: EmailMessage) -> None:
    def attempt() -> None:
        try:
            _hand_over(server, letter)
        except smtplib.SMTPResponseException as error:
            said = f"the mail server answered {error.smtp_code}"
            raise _PassingError(said) if 400 <= error.smtp_code < 500 else NotDeliveredError(said) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise NotDeliveredError(f"the mail server refused {len(error.recipients)} receivers") from error
        except (OSError, smtplib.SMTPException) as error:
            raise _PassingError(f"the mail server does not answer ({type(error).__name__})") from error

    _try(attempt)


def _hand_over(server: str, letter: EmailMessage) -> None:
    parts = urlsplit(server)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise NotDeliveredError("the variable of the route's server holds no smtp:// or smtps:// address")
    with _connect(parts.scheme, parts.hostname, parts.port or 0) as connection:
        if parts.scheme == "smtp" and parts.hostname not in LOOPBACK:
            connection.starttls(context=ssl.create_default_context())
        if parts.username:
            connection.login(unquote(parts.username), unquote(parts.password or ""))
        connection.send_message(letter)


def _connect(scheme: str, host: str, port: int) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)


def _try(attempt: Callable[[], None]) -> None:
    for left in reversed(range(TRIES)):
        try:
            return attempt()
        except _PassingError as error:
            if not left:
                raise NotDeliveredError(str(error)) from error
            time.sleep(PAUSE_SECONDS)
    return None
