"""A dataset from a URL: limited in size and time, asked for again only if it has changed.

Whoever may change a brand's folder names the URL, and the machine that asks stands inside the house's network. So the
address is looked up here and must be public, over https; hosts that are not, the machine's operator lists in
`BRANDHOUSE_SOURCE_HOSTS`. A redirect is followed on the same terms, and the secret header stays with its host.
"""

import http.client
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from brandhouse_flows.brand_secrets import read_secret
from brandhouse_flows.feeds import Arrival, Order
from brandhouse_shared.declarations import HttpSource
from brandhouse_shared.errors import DatasetError, RetryableError

MOST_REDIRECTS = 5
CHUNK_BYTES = 1 << 16
SOCKET_SECONDS = 30.0
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_TAG = 500
"""Characters of a tag that are kept; a longer one never fits again, and the file is downloaded anew."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same question may be answered."""


def collect_url(order: Order) -> Arrival:
    """Download the declared file, if the server says that it is another one than last time.

    Raises:
        DatasetError: If the address is not allowed, or the answer is no file, or too large.
        RetryableError: If the server does not answer, or not to the end.
    """
    source = order.dataset.source
    assert isinstance(source, HttpSource)  # noqa: S101 - chosen by kind
    secret = read_secret(order.brand, source.header_env, order.subject, os.environ) if source.header_env else ""
    return _Download(order, source, secret).run()


class _Download:
    """One download, with its deadline."""

    def __init__(self, order: Order, source: HttpSource, secret: str) -> None:
        self._order = order
        self._source = source
        self._secret = secret
        self._deadline = time.monotonic() + source.timeout_seconds
        self._listed = order.settings.listed_source_hosts

    def run(self) -> Arrival:
        address = urlsplit(self._source.url)
        origin = address.netloc
        for _ in range(MOST_REDIRECTS + 1):
            connection = self._connect(address)
            try:
                answer = self._ask(connection, address, with_secret=address.netloc == origin)
                if answer.status not in REDIRECTS:
                    return self._take(answer)
                address = urlsplit(urljoin(address.geturl(), answer.headers.get("Location") or ""))
            except (TimeoutError, ssl.SSLError, http.client.HTTPException, ConnectionError) as error:
                raise self._no_answer(type(error).__name__) from error
            finally:
                connection.close()
        raise DatasetError(f"{self._order.subject}: {self._source.url} redirects more than {MOST_REDIRECTS} times")

    def _take(self, answer: http.client.HTTPResponse) -> Arrival:
        if answer.status == 304:
            return Arrival(is_new=False)
        if answer.status in PASSING:
            raise RetryableError(f"{self._order.subject}: {self._source.url} answers {answer.status}", retry_after_seconds=60)
        if answer.status != 200:
            raise DatasetError(f"{self._order.subject}: {self._source.url} answers {answer.status}; allowed: 200")
        self._read(answer, self._order.target)
        tags = {"etag": answer.headers.get("ETag"), "last_modified": answer.headers.get("Last-Modified")}
        return Arrival(is_new=True, position={name: value[:LONGEST_TAG] for name, value in tags.items() if value})

    def _read(self, answer: http.client.HTTPResponse, target: Path) -> None:
        limit, taken, announced = self._source.max_mib << 20, 0, answer.length
        if announced is not None and announced > limit:
            raise self._too_large()
        with target.open("wb") as stream:
            while chunk := answer.read1(CHUNK_BYTES):  # what has come, not all that was asked: the deadline is looked at in between
                taken += len(chunk)
                if taken > limit:
                    raise self._too_large()
                if time.monotonic() > self._deadline:
                    raise self._no_answer(f"not whole after {self._source.timeout_seconds:g} s")
                stream.write(chunk)
        if announced is not None and taken != announced:
            raise self._no_answer(f"{taken} of {announced} bytes")

    def _ask(self, connection: http.client.HTTPConnection, address: SplitResult, *, with_secret: bool) -> http.client.HTTPResponse:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("GET", path, headers=self._headers(with_secret=with_secret))
        return connection.getresponse()

    def _headers(self, *, with_secret: bool) -> Mapping[str, str]:
        headers = {"User-Agent": "brandhouse", "Accept-Encoding": "identity"}
        if self._source.header and with_secret:
            headers[self._source.header] = self._secret
        if self._order.pointer:
            conditions = {"If-None-Match": self._order.position.get("etag"), "If-Modified-Since": self._order.position.get("last_modified")}
            headers |= {name: value for name, value in conditions.items() if value}
        return headers

    def _connect(self, address: SplitResult) -> http.client.HTTPConnection:
        """A connection to the very address that was checked: a name may mean another one the next time it is looked up."""
        host, is_listed = address.hostname or "", address.netloc in self._listed or address.hostname in self._listed
        if address.scheme != "https" and not (address.scheme == "http" and is_listed):
            raise DatasetError(f"{self._order.subject}: {address.scheme}://{host} is not allowed; allowed: https")
        timeout = max(0.1, min(SOCKET_SECONDS, self._deadline - time.monotonic()))
        checked = self._look_up(host, address.port or (443 if address.scheme == "https" else 80), is_listed=is_listed)
        try:
            opened = socket.create_connection(checked, timeout)
            if address.scheme == "https":
                opened = ssl.create_default_context().wrap_socket(opened, server_hostname=host)
        except OSError as error:
            raise self._no_answer(type(error).__name__) from error
        connection = http.client.HTTPConnection(address.netloc, timeout=timeout)
        connection.sock = opened
        return connection

    def _look_up(self, host: str, port: int, *, is_listed: bool) -> tuple[str, int]:
        try:
            found = {str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as error:
            raise self._no_answer("its name is not known") from error
        if not is_listed and not all(ipaddress.ip_address(one.split("%")[0]).is_global for one in found):
            raise DatasetError(
                f"{self._order.subject}: {host} is no public address; the machine's operator may allow it in BRANDHOUSE_SOURCE_HOSTS"
            )
        return min(found, key=lambda one: (":" in one, one)), port

    def _too_large(self) -> DatasetError:
        return DatasetError(f"{self._order.subject}: {self._source.url} gives more than max_mib = {self._source.max_mib}")

    def _no_answer(self, what: str) -> RetryableError:
        return RetryableError(f"{self._order.subject}: {self._source.url} does not answer as it should ({what})", retry_after_seconds=60)
