"""Keys and verification requests of a local Unkey API server. Source: Unkey API reference, `POST
/v2/keys.createKey` and `POST /v2/keys.verifyKey`.
"""

import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.gateway.load import Requests


@dataclass(frozen=True)
class Unkey:
    url: str
    root_key: str
    keys: list[str]

    def verifications(self, requests: Requests, number: int) -> Path:
        bodies = ({"key": key} for key in requests.zipf(self.keys, number))
        return requests.posts(
            "/v2/keys.verifyKey", bodies, f"Authorization: Bearer {self.root_key}"
        )


def create_keys(number: int) -> Unkey | None:
    """Creates keys with a rate limit if UNKEY_PORT, UNKEY_ROOT_KEY and UNKEY_API_ID are set."""
    port, root_key, api_id = (
        os.environ.get(f"UNKEY_{name}", "") for name in ("PORT", "ROOT_KEY", "API_ID")
    )
    if not (port and root_key and api_id):
        return None
    url = f"http://127.0.0.1:{port}"
    limits = [{"name": "requests", "limit": 10_000_000, "duration": 60_000, "autoApply": True}]
    body = json.dumps({"apiId": api_id, "ratelimits": limits}).encode()
    headers = {"Authorization": f"Bearer {root_key}", "Content-Type": "application/json"}
    keys = []
    for _ in range(number):
        request = urllib.request.Request(url + "/v2/keys.createKey", body, headers)  # noqa: S310 - a local server
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - a local server
            keys.append(json.load(response)["data"]["key"])
    return Unkey(url, root_key, keys)
