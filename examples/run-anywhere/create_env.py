"""Prints the secrets of a new deployment as lines NAME=value. Runs in the image.

The values have no quotes and no spaces, so that Docker Compose, kubectl and systemd read the same.
"""

import base64
import json
import secrets

from gatehouse.core.tokens.token import ALPHABET, SECRET_CHARS, checksum
from gatehouse.platform.settings import Settings


def hmac_secret() -> str:
    generations = {"1": base64.b64encode(secrets.token_bytes(32)).decode()}
    return json.dumps({"current": 1, "generations": generations}, separators=(",", ":"))


def bootstrap_token() -> str:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_CHARS))
    token = f"{Settings.model_fields['key_prefix'].default}_admin_{secret}"
    return token + checksum(token)


cache_password = secrets.token_hex(32)
variables = {
    "COMPOSE_PROFILES": "stores",
    "POSTGRES_PASSWORD": secrets.token_hex(32),
    "OWNER_PASSWORD": secrets.token_hex(32),
    "APP_PASSWORD": secrets.token_hex(32),
    "VALKEY_PASSWORD": cache_password,
    "GATEHOUSE_REDIS_URL": f"redis://app:{cache_password}@valkey:6379/0",
    "GATEHOUSE_PEPPER": hmac_secret(),
    "GATEHOUSE_SESSION_KEY": hmac_secret(),
    "GATEHOUSE_BOOTSTRAP_TOKEN": bootstrap_token(),
}
print("\n".join(f"{name}={value}" for name, value in variables.items()))
