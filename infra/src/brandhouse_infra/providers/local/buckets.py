"""Buckets and what is set on them. Each setting is read back from the store: what somebody changed there is drift."""

from abc import ABC, abstractmethod
from typing import Any

from brandhouse_infra.providers.local.connections import MISSING, Connections, code_of, told
from brandhouse_infra.providers.local.handlers import FIXED, GIVEN, REQUIRED, TAGS, single
from brandhouse_infra.providers.plugin import ProviderError, State
from brandhouse_infra.providers.schema import Attribute, Block, Nested

DEFAULT_ENCRYPTION = "apply_server_side_encryption_by_default"


class Bucket:
    """A bucket with its tags."""

    schema = Block({"bucket": FIXED, "tags": TAGS, "id": GIVEN, "arn": GIVEN})

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, state: State) -> State | None:
        """What is there, with its tags."""
        from botocore.exceptions import ClientError

        name = str(state["bucket"])
        with told(f"bucket {name}"):
            try:
                self._connections.store.head_bucket(Bucket=name)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
            return _bucket(name, self._tags(name))

    def create(self, planned: State) -> State:
        """Make it. One that is there is taken over if its tags say that it is this brand's, or nobody's and empty."""
        name = str(planned["bucket"])
        found = self.read(planned)
        if found is None:
            with told(f"bucket {name}"):
                self._connections.store.create_bucket(Bucket=name)
        else:
            self._check_ours(name, found["tags"] or {}, planned["tags"] or {})
        return self.update(planned, planned)

    def update(self, prior: State, planned: State) -> State:
        """Put the tags."""
        name, tags = str(planned["bucket"]), planned["tags"] or {}
        with told(f"tags of bucket {name}"):
            if tags:
                listed = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
                self._connections.store.put_bucket_tagging(Bucket=name, Tagging={"TagSet": listed})
            else:
                self._connections.store.delete_bucket_tagging(Bucket=name)
        return _bucket(name, planned["tags"])

    def delete(self, state: State) -> None:
        """Remove it. The store refuses one with objects, and so do we: it does not look at old versions."""
        name = str(state["bucket"])
        if self.read(state) is None:
            return
        if self._connections.holds_objects(name):
            raise ProviderError(f"bucket {name} still holds objects or old versions of some; it is not removed")
        with told(f"bucket {name}"):
            self._connections.store.delete_bucket(Bucket=name)

    def identify(self, identifier: str) -> State:
        """A bucket's name."""
        return {"bucket": identifier}

    def _tags(self, name: str) -> dict[str, str] | None:
        from botocore.exceptions import ClientError

        try:
            found = self._connections.store.get_bucket_tagging(Bucket=name)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]} or None

    def _check_ours(self, name: str, found: dict[str, str], wanted: dict[str, str]) -> None:
        mine = all(found.get(tag) == wanted.get(tag) for tag in ("brand", "environment"))
        if not mine and (found or self._connections.holds_objects(name)):
            raise ProviderError(f"bucket {name} is there and not of this brand (tag brand: {found.get('brand')!r}); look at whose it is")


def _bucket(name: str, tags: dict[str, str] | None) -> State:
    return {"bucket": name, "tags": tags, "id": name, "arn": f"arn:aws:s3:::{name}"}


class Setting(ABC):
    """Something set on a bucket: one block of content, put and fetched as a whole."""

    schema: Block
    content: str

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, state: State) -> State | None:
        """What is set; None: nothing is, or the bucket is gone."""
        from botocore.exceptions import ClientError

        name = str(state["bucket"])
        with told(f"{self.content} of bucket {name}"):
            try:
                found = self.fetch(self._connections.store, name)
            except ClientError as error:
                if code_of(error) in MISSING or "NotFound" in code_of(error):
                    return None
                raise
        return {"bucket": name, "id": name, self.content: found} if found else None

    def create(self, planned: State) -> State:
        """Set it."""
        return self.update(planned, planned)

    def update(self, prior: State, planned: State) -> State:
        """Set it anew."""
        name = str(planned["bucket"])
        with told(f"{self.content} of bucket {name}"):
            self.put(self._connections.store, name, planned[self.content])
        return {"bucket": name, "id": name, self.content: planned[self.content]}

    def delete(self, state: State) -> None:
        """Take it off; a bucket that is gone has none."""
        if self.read(state) is not None:
            with told(f"{self.content} of bucket {state['bucket']}"):
                self.remove(self._connections.store, str(state["bucket"]))

    def identify(self, identifier: str) -> State:
        """A bucket's name."""
        return {"bucket": identifier}

    @abstractmethod
    def fetch(self, store: Any, bucket: str) -> list[State]:
        """Read the content."""

    @abstractmethod
    def put(self, store: Any, bucket: str, content: list[State]) -> None:
        """Write the content."""

    @abstractmethod
    def remove(self, store: Any, bucket: str) -> None:
        """Undo it."""


def _setting(content: str, nested: Nested) -> Block:
    return Block({"bucket": FIXED, "id": GIVEN}, {content: nested})


class Versioning(Setting):
    """Whether overwritten and deleted objects are kept."""

    content = "versioning_configuration"
    schema = _setting(content, single(status=REQUIRED))

    def fetch(self, store: Any, bucket: str) -> list[State]:
        """A bucket that never had it has no status."""
        status = store.get_bucket_versioning(Bucket=bucket).get("Status")
        return [{"status": status}] if status else []

    def put(self, store: Any, bucket: str, content: list[State]) -> None:
        """Enabled or Suspended."""
        store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": content[0]["status"]})

    def remove(self, store: Any, bucket: str) -> None:
        """It can only be suspended."""
        store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


class Encryption(Setting):
    """How objects are encrypted that come without a wish."""

    content = "rule"
    schema = _setting(content, Nested(Block({}, {DEFAULT_ENCRYPTION: single(sse_algorithm=REQUIRED)}), min_items=1, max_items=1))

    def fetch(self, store: Any, bucket: str) -> list[State]:
        """One rule."""
        rules = store.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        found = [rule["ApplyServerSideEncryptionByDefault"] for rule in rules if "ApplyServerSideEncryptionByDefault" in rule]
        return [{DEFAULT_ENCRYPTION: [{"sse_algorithm": one["SSEAlgorithm"]}]} for one in found]

    def put(self, store: Any, bucket: str, content: list[State]) -> None:
        """One rule."""
        algorithm = content[0][DEFAULT_ENCRYPTION][0]["sse_algorithm"]
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}]
        store.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def remove(self, store: Any, bucket: str) -> None:
        """New objects are not encrypted any more."""
        store.delete_bucket_encryption(Bucket=bucket)


class Lifecycle(Setting):
    """When old bytes end."""

    content = "rule"
    schema = _setting(
        content,
        Nested(
            Block(
                {"id": REQUIRED, "status": REQUIRED},
                {
                    "filter": single(prefix=REQUIRED),
                    "noncurrent_version_expiration": single(noncurrent_days=Attribute("number", required=True)),
                    "abort_incomplete_multipart_upload": single(days_after_initiation=Attribute("number", required=True)),
                },
            ),
            min_items=1,
        ),
    )

    def fetch(self, store: Any, bucket: str) -> list[State]:
        """All rules, as the store has them."""
        rules = store.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return [
            {
                "id": rule["ID"],
                "status": rule["Status"],
                "filter": [{"prefix": rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))}],
                "noncurrent_version_expiration": _days(rule, "NoncurrentVersionExpiration", "NoncurrentDays", "noncurrent_days"),
                "abort_incomplete_multipart_upload": _days(
                    rule, "AbortIncompleteMultipartUpload", "DaysAfterInitiation", "days_after_initiation"
                ),
            }
            for rule in rules
        ]

    def put(self, store: Any, bucket: str, content: list[State]) -> None:
        """All rules at once."""
        store.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [_rule(one) for one in content]})

    def remove(self, store: Any, bucket: str) -> None:
        """Nothing ends by itself any more."""
        store.delete_bucket_lifecycle(Bucket=bucket)


def _rule(content: State) -> dict[str, Any]:
    rule: dict[str, Any] = {"ID": content["id"], "Status": content["status"], "Filter": {"Prefix": content["filter"][0]["prefix"]}}
    if days := content["noncurrent_version_expiration"]:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": days[0]["noncurrent_days"]}
    if days := content["abort_incomplete_multipart_upload"]:
        rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days[0]["days_after_initiation"]}
    return rule


def _days(rule: dict[str, Any], part: str, key: str, name: str) -> list[State]:
    return [{name: rule[part][key]}] if key in rule.get(part, {}) else []
