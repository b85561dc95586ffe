"""Signs checkpoints and deletion receipts with a key in AWS KMS, or with a key in a file on
machines without KMS.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatehouse.core.audit_chain import ECDSA_P256, ED25519
from gatehouse.core.errors import SettingsError
from gatehouse.platform.aws import call, create_client


class Signer(Protocol):
    """A private key in AWS KMS or in a file. Methods raise Unavailable."""

    async def key_id(self) -> str: ...

    async def sign(self, message: bytes) -> bytes: ...

    async def public_key(self) -> bytes:
        """Returns the public key in PEM format."""
        ...

    @property
    def algorithm(self) -> str: ...


VARIABLE = "GATEHOUSE_CHECKPOINT_KEY"
_TIMEOUT_S = 3


@dataclass(slots=True)
class LocalSigner:
    """Signer with an Ed25519 key in this process. The key ID is the fingerprint of the public
    key.
    """

    key: Ed25519PrivateKey = field(repr=False)
    algorithm: str = ED25519

    async def key_id(self) -> str:
        raw = self.key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return "ed25519:" + hashlib.sha256(raw).hexdigest()[:32]

    async def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)

    async def public_key(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form)


class KmsSigner:
    """Signer with an ECC_NIST_P256 key in AWS KMS (kms:Sign, kms:GetPublicKey). The key ID is the
    ARN.
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


def local_signer(file: Path) -> LocalSigner:
    """Reads a PEM file with mode 0600, created with `openssl genpkey -algorithm ed25519`. Raises
    SettingsError.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"{VARIABLE}: {file} is readable by other users: chmod 600 {file}")
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as exc:
        raise SettingsError(f"{VARIABLE}: {file} cannot be read: {exc.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"{VARIABLE}: {file} is not an Ed25519 key: create one with openssl genpkey "
            f"-algorithm ed25519 -out FILE"
        )
    return LocalSigner(key)
