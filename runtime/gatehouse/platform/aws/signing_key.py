"""Signs checkpoints and deletion receipts with a key in AWS KMS."""

from typing import Any

from cryptography.hazmat.primitives import serialization

from gatehouse.core.audit_chain import ECDSA_P256
from gatehouse.platform.aws import call, create_client

_TIMEOUT_S = 3


class KmsSigner:
    """Signer with an ECC_NIST_P256 key in AWS KMS (kms:Sign, kms:GetPublicKey). The key ID is the
    ARN. Methods raise Unavailable.
    """

    algorithm = ECDSA_P256

    def __init__(self, key: str) -> None:
        """`key`: key ID, ARN or alias. Does not open a connection."""
        self._key = key
        self._arn = ""
        self._public_key = b""
        # If a call fails, no checkpoint is created, and the next run of the job tries again.
        self._client = create_client("kms", timeout_s=_TIMEOUT_S, attempts=2)

    async def key_id(self) -> str:
        await self._load()
        return self._arn

    async def sign(self, message: bytes) -> bytes:
        # MessageType RAW allows up to 4096 bytes. The message for a checkpoint has a few hundred
        # bytes.
        reply = await self._call(
            "sign", Message=message, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256"
        )
        return bytes(reply["Signature"])

    async def public_key(self) -> bytes:
        """Returns the public key in PEM format."""
        await self._load()
        return self._public_key

    async def _load(self) -> None:
        if not self._arn:
            reply = await self._call("get_public_key")
            public = serialization.load_der_public_key(reply["PublicKey"])
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            self._public_key, self._arn = (
                public.public_bytes(serialization.Encoding.PEM, form),
                str(reply["KeyId"]),
            )

    async def _call(self, operation: str, **arguments: Any) -> Any:
        return await call(getattr(self._client, operation), "KMS", KeyId=self._key, **arguments)
