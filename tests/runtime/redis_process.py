"""The process of a Redis server that a test stops or kills."""

from typing import Any

from valkey import Valkey

from sandbox.local.servers import administrator


def redis_pid(url: str) -> int:
    with Valkey.from_url(administrator(url)) as client:
        info: Any = client.info("server")
    return int(info["process_id"])
