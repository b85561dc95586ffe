"""boto3 sessions that share the service models. Parsing a model takes up to a second, and by
default each session parses it.
"""

import functools
import threading
from typing import Any

import boto3
import botocore.loaders
import botocore.session

_LOADER: Any = botocore.loaders.create_loader()
#: Creating a client is not thread-safe.
_LOCK = threading.Lock()


def session(key_id: str, secret: str, token: str | None = None, region: str | None = None) -> Any:
    core: Any = botocore.session.get_session()
    core.register_component("data_loader", _LOADER)
    created = boto3.session.Session(
        key_id, secret, token, region_name=region, botocore_session=core
    )
    # Each session adds the data folder of boto3.
    _LOADER.search_paths[:] = dict.fromkeys(_LOADER.search_paths)
    return created


def client(service: str, **options: Any) -> Any:
    """A boto3 client with the credentials in `options`. All clients share a session, because
    creating a session takes 25 ms of CPU time, longer than creating a client."""
    with _LOCK:
        return _shared_session().client(service, **options)


@functools.cache
def _shared_session() -> Any:
    return session("", "")
