"""boto3 sessions that share the service models. Parsing a model takes up to a second, and by default each session parses it."""

import functools
from typing import Any

import boto3
import botocore.loaders
import botocore.session

_LOADER: Any = botocore.loaders.create_loader()


def session(key_id: str, secret: str, token: str | None = None, region: str | None = None) -> Any:
    """A boto3 session with these credentials."""
    core: Any = botocore.session.get_session()
    core.register_component("data_loader", _LOADER)
    created = boto3.session.Session(key_id, secret, token, region_name=region, botocore_session=core)
    # Each session adds the data folder of boto3.
    _LOADER.search_paths[:] = dict.fromkeys(_LOADER.search_paths)
    return created


@functools.cache
def shared_session() -> Any:
    """A boto3 session without credentials, whose clients are created with credentials. Creating a session takes 25 ms of CPU
    time, longer than creating a client. Not thread-safe."""
    return session("", "")
