"""Users of the store, their policy and their key."""

import hashlib
import json
from pathlib import Path
from typing import Any

from brandhouse_infra.providers.local.connections import MISSING, Connections, code_of, told
from brandhouse_infra.providers.local.handlers import FIXED, GIVEN, REQUIRED, TAGS
from brandhouse_infra.providers.plugin import ProviderError, State
from brandhouse_infra.providers.schema import Attribute, Block
from brandhouse_shared.secret_files import read_secrets, secret_file, write_secrets

STORE = "store"
UNKNOWN_TO_STORE = frozenset({"s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"})
"""Tried with SeaweedFS 4.48. Nothing here lists uploads; a later release that knows them needs no change but this line's end."""


class User:
    """A user. Path and tags are kept in the state alone: the store knows a user by its name."""

    schema = Block({"name": FIXED, "path": Attribute(optional=True), "tags": TAGS, "id": GIVEN, "arn": GIVEN})

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, state: State) -> State | None:
        """Whether it is there."""
        from botocore.exceptions import ClientError

        name = str(state["name"])
        with told(f"user {name}"):
            try:
                self._connections.users.get_user(UserName=name)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
        return {"path": None, "tags": None} | state | {"id": name, "arn": f"arn:aws:iam:::user/{name}"}

    def create(self, planned: State) -> State:
        """Make it; one of this name is taken over, since a name holds house, environment and brand."""
        name = str(planned["name"])
        if self.read(planned) is None:
            with told(f"user {name}"):
                self._connections.users.create_user(UserName=name)
        return planned | {"id": name, "arn": f"arn:aws:iam:::user/{name}"}

    def update(self, prior: State, planned: State) -> State:
        """Nothing but what the state keeps."""
        return planned

    def delete(self, state: State) -> None:
        """Remove it."""
        if self.read(state) is not None:
            with told(f"user {state['name']}"):
                self._connections.users.delete_user(UserName=state["name"])

    def identify(self, identifier: str) -> State:
        """A user's name."""
        return {"name": identifier}


class UserPolicy:
    """The policy that is written into a user."""

    schema = Block({"name": FIXED, "user": FIXED, "policy": REQUIRED, "id": GIVEN})

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, state: State) -> State | None:
        """The document as the store has it; one that means the same keeps the words of the state."""
        from botocore.exceptions import ClientError

        user, name = str(state["user"]), str(state["name"])
        with told(f"policy {name} of user {user}"):
            try:
                found = self._connections.users.get_user_policy(UserName=user, PolicyName=name)["PolicyDocument"]
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
        document = json.loads(found) if isinstance(found, str) else found
        same = state.get("policy") is not None and _meaning(for_store(json.loads(state["policy"]))) == _meaning(document)
        policy = state["policy"] if same else json.dumps(document, sort_keys=True, separators=(",", ":"))
        return {"user": user, "name": name, "policy": policy, "id": f"{user}:{name}"}

    def create(self, planned: State) -> State:
        """Write it."""
        return self.update(planned, planned)

    def update(self, prior: State, planned: State) -> State:
        """Write it over what is there."""
        user, name = str(planned["user"]), str(planned["name"])
        document = json.dumps(for_store(json.loads(planned["policy"])))
        with told(f"policy {name} of user {user}"):
            self._connections.users.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=document)
        return planned | {"id": f"{user}:{name}"}

    def delete(self, state: State) -> None:
        """Take it away; a user that is gone has none."""
        if self.read(state) is not None:
            with told(f"policy {state['name']} of user {state['user']}"):
                self._connections.users.delete_user_policy(UserName=state["user"], PolicyName=state["name"])

    def identify(self, identifier: str) -> State:
        """`USER:POLICY`."""
        user, _, name = identifier.partition(":")
        return {"user": user, "name": name}


class AccessKey:
    """The one key of a user. Its secret is in the brand's file of secrets only; the state knows a digest, by which it is recognised."""

    schema = Block({"user": FIXED, "brand": FIXED, "id": GIVEN, "digest": GIVEN})

    def __init__(self, connections: Connections, home: Path) -> None:
        self._connections = connections
        self._home = home

    def read(self, state: State) -> State | None:
        """None, so that a new one is made, if the store does not know it any more or the file lost it."""
        kept = read_secrets(self._home, str(state["brand"]), STORE)
        secret, key = kept.get("AWS_SECRET_ACCESS_KEY", ""), kept.get("AWS_ACCESS_KEY_ID")
        if key != state["id"] or digest(secret) != state["digest"] or key not in self._keys(str(state["user"])):
            return None
        return state

    def create(self, planned: State) -> State:
        """Make it and write it down. Others of the user end: a run that was cut off may have left one that nobody knows."""
        user, brand = str(planned["user"]), str(planned["brand"])
        with told(f"key of user {user}"):
            for key in self._keys(user):
                self._connections.users.delete_access_key(UserName=user, AccessKeyId=key)
            made = self._connections.users.create_access_key(UserName=user)["AccessKey"]
        values = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        place = {"AWS_ENDPOINT_URL": self._connections.store_url, "AWS_REGION": self._connections.region}
        write_secrets(self._home, brand, STORE, values | place)
        return planned | {"id": made["AccessKeyId"], "digest": digest(made["SecretAccessKey"])}

    def update(self, prior: State, planned: State) -> State:
        """Nothing of it can be changed."""
        return planned

    def delete(self, state: State) -> None:
        """End it, and its file."""
        user = str(state["user"])
        with told(f"key of user {user}"):
            if state["id"] in self._keys(user):
                self._connections.users.delete_access_key(UserName=user, AccessKeyId=state["id"])
        secret_file(self._home, str(state["brand"]), STORE).unlink(missing_ok=True)

    def identify(self, identifier: str) -> State:
        """Refuse: its secret cannot be had back."""
        raise ProviderError("a key cannot be imported, its secret is known only when it is made; plan and apply make a new one")

    def _keys(self, user: str) -> list[str]:
        from botocore.exceptions import ClientError

        with told(f"keys of user {user}"):
            try:
                found = self._connections.users.list_access_keys(UserName=user)["AccessKeyMetadata"]
            except ClientError as error:
                if code_of(error) in MISSING:
                    return []
                raise
        return [key["AccessKeyId"] for key in found if key.get("UserName", user) == user]


def for_store(document: dict[str, Any]) -> dict[str, Any]:
    """The document without actions that the store's evaluation does not know, since it refuses a document that names one.

    Only from statements that allow, so that what is left never allows more; from one that denies, the store's error is right.
    """
    statements = [
        one | {"Action": [action for action in one["Action"] if action not in UNKNOWN_TO_STORE]}
        if one["Effect"] == "Allow" and isinstance(one.get("Action"), list)
        else one
        for one in document["Statement"]
    ]
    return document | {"Statement": statements}


def digest(secret: str) -> str:
    """By which a long random secret is recognised without being known."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _meaning(value: object) -> object:
    """A policy without order: lists of texts as sets, one text as a list of one."""
    if isinstance(value, dict):
        return {
            key: _meaning([below] if key in ("Action", "Resource") and isinstance(below, str) else below) for key, below in value.items()
        }
    if isinstance(value, list):
        parts = [_meaning(one) for one in value]
        return sorted(parts, key=lambda one: json.dumps(one, sort_keys=True, default=str))
    return value
