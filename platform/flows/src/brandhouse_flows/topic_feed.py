"""A dataset that grows by the messages of a Kafka topic: each becomes a row once.

The offsets are kept with the snapshot, in the pointer; the broker is told afterwards, for those who watch the lag. So a
process may die anywhere: rows and offsets are both in, or neither. Rows are in the order of partition and offset.
"""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brandhouse_flows.brand_secrets import read_secret
from brandhouse_flows.content import write_whole
from brandhouse_flows.feeds import Arrival, Order
from brandhouse_flows.json_rows import NoRowError, named_columns, read_row
from brandhouse_flows.row_files import check_row_format, read_columns, write_rows
from brandhouse_shared.declarations import TopicSource
from brandhouse_shared.errors import DatasetError, RetryableError

ANSWER_SECONDS = 15.0
"""Without an answer of the broker for so long, the ingest ends and is tried again."""

READ_SECONDS = 300.0
"""A topic may grow faster than it is read; after this time the rest waits for the next ingest."""

POLL_MESSAGES = 5_000


@dataclass(slots=True)
class _Part:
    """What is read of one partition.

    Attributes:
        next: Offset of the next message to read.
        rows: Cells of the messages that are rows.
        refused: Offset of the others, and why.
    """

    next: int
    rows: list[list[str | None]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


def collect_messages(order: Order) -> Arrival:
    """Add the messages that were in the topic when it was asked to the present snapshot's rows.

    Raises:
        DatasetError: If the topic is missing, or is another one than the one read before.
        RetryableError: If the broker does not answer.
    """
    source = order.dataset.source
    assert isinstance(source, TopicSource)  # noqa: S101 - chosen by kind
    check_row_format(order.dataset, order.subject)
    columns = read_columns(order.dataset, order.find_present()) if order.pointer else named_columns(order.brand, order.name)
    notes: list[str] = []
    consumer = _connect(order, source)
    try:
        parts = _find_parts(order, source, consumer, notes)
        count = _read(order, source, consumer, parts, columns)
    finally:
        consumer.close()
    if count < source.every_rows:
        notes += [f"{count} messages wait (every_rows = {source.every_rows})"] if count else []
        return Arrival(is_new=False, notes=tuple(notes))
    return _arrive(order, source, parts, columns, notes)


def _arrive(order: Order, source: TopicSource, parts: dict[int, _Part], columns: list[str], notes: list[str]) -> Arrival:
    offsets = {str(number): part.next for number, part in sorted(parts.items())}
    rows = [row for _, part in sorted(parts.items()) for row in part.rows]
    refused = [(number, offset, reason) for number, part in sorted(parts.items()) for offset, reason in part.refused]
    if refused:
        path = _keep_refused(order, refused)
        notes.append(f"{len(refused)} messages are no row; which and why: {path}")
    if not rows and order.pointer is None:
        raise DatasetError(f"{order.subject}: none of the messages is a row; {'; '.join(notes)}")
    notes.append(f"{len(rows)} messages added")
    write_rows(order.dataset, order.target, columns, rows, after=order.find_present() if order.pointer else None)
    position = {"topic": source.topic, "offsets": offsets}
    return Arrival(is_new=True, position=position, notes=tuple(notes), settle=lambda: _commit(order, source, offsets))


def _connect(order: Order, source: TopicSource) -> Any:
    try:
        from confluent_kafka import Consumer
    except ImportError:
        raise DatasetError(f"{order.subject}: reading a topic needs an extra; install brandhouse-flows[kafka]") from None
    login: dict[str, Any] = {}
    if source.user_env and source.password_env:
        user, password = (read_secret(order.brand, name, order.subject, os.environ) for name in (source.user_env, source.password_env))
        login = {"sasl.mechanism": source.login, "sasl.username": user, "sasl.password": password}
    protocol = ("SASL_" if login else "") + ("SSL" if source.tls else "PLAINTEXT")
    return Consumer(
        {
            "bootstrap.servers": source.brokers,
            "group.id": f"brandhouse.{order.brand.name}.{order.name}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "security.protocol": protocol,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
            **login,
        },
        logger=None,
    )


def _find_parts(order: Order, source: TopicSource, consumer: Any, notes: list[str]) -> dict[int, _Part]:
    """Where to begin in every partition: where the last snapshot ended, or at the first message that is still there."""
    from confluent_kafka import KafkaException, TopicPartition

    known: Mapping[str, int] = order.position.get("offsets", {}) if order.position.get("topic") == source.topic else {}
    try:
        topic = consumer.list_topics(source.topic, timeout=ANSWER_SECONDS).topics.get(source.topic)
        if topic is None or topic.error is not None or not topic.partitions:
            raise DatasetError(f"{order.subject}: the broker has no topic {source.topic}, or the login may not read it")
        parts = {}
        for number in sorted(topic.partitions):
            first, _ = consumer.get_watermark_offsets(TopicPartition(source.topic, number), timeout=ANSWER_SECONDS)
            start = int(known.get(str(number), first))
            if start < first:
                notes.append(f"{first - start} messages of partition {number} were deleted by the broker before they were taken")
            parts[number] = _Part(max(start, first))
    except KafkaException as failure:
        raise RetryableError(f"{order.subject}: the broker does not answer ({failure.args[0].name()})", retry_after_seconds=30) from failure
    return parts


def _read(order: Order, source: TopicSource, consumer: Any, parts: dict[int, _Part], columns: list[str]) -> int:
    """Read every partition to its end, within the limits of rows and time; return how many messages came."""
    from confluent_kafka import KafkaException, TopicPartition

    consumer.assign([TopicPartition(source.topic, number, part.next) for number, part in parts.items()])
    unread, count = set(parts), 0
    began = answered = time.monotonic()
    while unread and count < source.max_rows and time.monotonic() - began < READ_SECONDS:
        try:
            messages = consumer.consume(min(POLL_MESSAGES, source.max_rows - count), timeout=0.25)
        except KafkaException as failure:
            raise RetryableError(f"{order.subject}: the broker does not answer ({failure.args[0].name()})") from failure
        if messages:
            answered = time.monotonic()
        elif time.monotonic() - answered > ANSWER_SECONDS:
            raise RetryableError(f"{order.subject}: the broker gives nothing for {ANSWER_SECONDS:g} s", retry_after_seconds=30)
        for message in messages:
            part = parts[message.partition()]
            if message.error() is None:
                _take(message, part, columns)
                count += 1
            else:
                _end(order, source, message, part)
                unread.discard(message.partition())
    return count


def _end(order: Order, source: TopicSource, message: Any, part: _Part) -> None:
    """Note the end of a partition; behind its last message there may be marks of transactions, which are no messages."""
    from confluent_kafka import KafkaError

    error = message.error()
    if error.code() == KafkaError._PARTITION_EOF:
        part.next = max(part.next, message.offset())
    elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise DatasetError(
            f"{order.subject}: partition {message.partition()} of {source.topic} was read up to {part.next} and ends before: another "
            "topic of the same name. Give the dataset another file, or the topic another name"
        )
    else:
        raise RetryableError(f"{order.subject}: the broker says {error.name()}", retry_after_seconds=30)


def _take(message: Any, part: _Part, columns: list[str]) -> None:
    part.next = message.offset() + 1
    try:
        part.rows.append(read_row(message.value() if message.value() is not None else b"null", columns))
    except NoRowError as error:
        part.refused.append((message.offset(), str(error)))


def _keep_refused(order: Order, refused: list[tuple[int, int, str]]) -> Path:
    """Write which messages were refused. Named after where the ingest began, so that one that is repeated writes it again."""
    began = hashlib.md5(json.dumps(order.position, sort_keys=True).encode(), usedforsecurity=False).hexdigest()[:12]
    path = order.settings.home / "quarantine" / order.brand.name / order.name / f"messages-{began}.csv"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = io.StringIO()
    csv.writer(text).writerows([("partition", "offset", "reason"), *refused])
    write_whole(path, text.getvalue())
    return path


def _commit(order: Order, source: TopicSource, offsets: dict[str, int]) -> None:
    """Tell the broker how far the brand has read; only those who watch the lag ask for it."""
    from confluent_kafka import KafkaException, TopicPartition

    consumer = _connect(order, source)
    try:
        told = [TopicPartition(source.topic, int(number), offset) for number, offset in offsets.items()]
        with suppress(KafkaException):
            consumer.commit(offsets=told, asynchronous=False)
    finally:
        consumer.close()
