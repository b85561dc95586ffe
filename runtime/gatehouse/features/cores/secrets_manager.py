"""Reads secrets in AWS Secrets Manager."""

import threading
from typing import Any

from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.platform.aws import call, create_client, error_code

#: Timeout of a connection and of a response, for each of two attempts.
_TIMEOUT_S = 2.0

#: The secret was deleted, or the role must not read or decrypt it. Source: Secrets Manager API
#: Reference, "GetSecretValue".
_DENIED = (
    *("AccessDeniedException", "DecryptionFailure", "InvalidRequestException"),
    "ResourceNotFoundException",
)


class SecretsManager:
    def __init__(self) -> None:
        self._client: Any = None
        self._lock = threading.Lock()

    async def read(self, name: str) -> str:
        """The current value of a secret. Raises NotFound if the role cannot read the secret, and
        Unavailable if that is not known.
        """
        try:
            return await call(self._get_secret_value, "Secrets Manager", answers=_DENIED, name=name)
        except Unavailable as exc:
            code = error_code(exc.__cause__) if isinstance(exc.__cause__, Exception) else ""
            if code in _DENIED:
                raise NotFound(detail=code) from exc
            raise

    def _get_secret_value(self, name: str) -> str:
        with self._lock:  # boto3 creates one client at a time
            if self._client is None:
                self._client = create_client("secretsmanager", timeout_s=_TIMEOUT_S, attempts=2)
        return str(self._client.get_secret_value(SecretId=name).get("SecretString", ""))
