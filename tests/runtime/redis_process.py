"""A Redis server as its administrator sees it: the user of the processes may not do this."""

from typing import Any

from valkey import Valkey

from sandbox.local.servers import CACHE_USER


def administrator(url: str) -> str:
    """The URL with the user that has all permissions."""
    return url.replace(f"//{CACHE_USER}:", "//:")


def redis_pid(url: str) -> int:
    """The ID of the server process, which a test stops or kills."""
    with Valkey.from_url(administrator(url)) as client:
        info: Any = client.info("server")
    return int(info["process_id"])
