"""Encrypts and decrypts secrets. The functions are pure: they use no I/O and no clock. Test
vectors: docs/sharing-vectors.json.

Each version of a secret has a random content key. For each link, the content key is encrypted
twice:

1. To the X25519 public key of the link with HPKE (RFC 9180). The private key is derived from the
   link secret and the passphrase with HKDF-SHA256 (RFC 5869) and Argon2id (RFC 9106), and is not
   stored.
2. Under the KMS data key of the version with AES-256-GCM.

Access to KMS, the table and the bucket is therefore not sufficient to decrypt an unopened secret,
and neither is a link without access to KMS. The public keys of links are stored, so a new version
can be encrypted to existing links.

Content is encrypted in chunks with libsodium's secretstream (XChaCha20-Poly1305), which supports
streaming and detects truncated, reordered and extended streams.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Generator, Iterable, Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

KEY_BYTES = 32
SALT_BYTES = 16
CHUNK_BYTES = 64 * 1024
FORMAT = 1

#: The second option that RFC 9106, section 4, recommends (64 MiB, three passes), but with one lane.
ARGON2_MEMORY_KIB = 64 * 1024
ARGON2_PASSES = 3

_NONCE_BYTES = 12
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_HEADER_BYTES = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_TAG_BYTES = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
_FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE


class DecryptionFailed(Exception):
    """The ciphertext was altered or truncated, or belongs to another link, version or purpose. The
    message contains no data.
    """


class LinkKeys(msgspec.Struct, frozen=True):
    """Keys that the holder of a link can derive.

    verifier: 32 bytes that prove possession of the link secret, without the passphrase.
    private_key: X25519 private key, derived from the link secret and the passphrase.
    """

    verifier: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return "LinkKeys(...)"

    @property
    def public_key(self) -> bytes:
        return X25519PrivateKey.from_private_bytes(self.private_key).public_key().public_bytes_raw()


class Context(msgspec.Struct, frozen=True):
    """Context to which an encrypted content key is bound. None of the values is secret.

    environment: name of the deployment.
    secret, link: IDs.
    version: version number.
    expires_at_max: Unix seconds.
    """

    environment: str
    secret: str
    link: str
    version: int
    expires_at_max: int

    def encode(self, purpose: str) -> bytes:
        """Return canonical JSON with sorted names and without spaces."""
        values = {"format": FORMAT, "purpose": purpose, **msgspec.structs.asdict(self)}
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")


def verifier(link_secret: str, path: str) -> bytes:
    """Return the hash with which the server verifies a link secret. Link secrets have 256 bits of
    entropy, so HKDF suffices.
    """
    return _derive(link_secret.encode("ascii"), path.encode("ascii"), b"gatehouse link verifier")


def matches(link_secret: str, path: str, stored: bytes) -> bool:
    """Compare a link secret with a stored verifier in constant time."""
    return hmac.compare_digest(verifier(link_secret, path), stored)


def link_keys(link_secret: str, path: str, passphrase: str = "", salt: bytes = b"") -> LinkKeys:
    """Return the keys of a link. `salt`: 16 bytes for a link with a passphrase, otherwise empty.

    A passphrase adds about 100 ms.
    """
    material = link_secret.encode("ascii")
    if salt:
        argon2 = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=ARGON2_PASSES,
            lanes=1,
            memory_cost=ARGON2_MEMORY_KIB,
        )
        material += argon2.derive(passphrase.encode("utf-8"))
    private_key = _derive(material, path.encode("ascii"), b"gatehouse link key")
    return LinkKeys(verifier(link_secret, path), private_key)


def is_public_key(public_key: bytes) -> bool:
    """Return True if content keys can be encrypted to a public key of 32 bytes.

    Rejects points that produce a known shared secret (RFC 7748, section 6.1).
    """
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        return False
    return True


def wrap(
    content_key: bytes,
    public_key: bytes,
    data_key: bytes,
    context: Context,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Encrypt a content key for a link."""
    inner = _SUITE.encrypt(
        content_key, X25519PublicKey.from_public_bytes(public_key), info=context.encode("link")
    )
    nonce = random_bytes(_NONCE_BYTES)
    bound = context.encode("data-key")
    return nonce + AESGCM(_derive(data_key, b"", bound)).encrypt(nonce, inner, bound)


def unwrap(wrapped: bytes, private_key: bytes, data_key: bytes, context: Context) -> bytes:
    """Decrypt a content key. Raises DecryptionFailed."""
    bound = context.encode("data-key")
    try:
        inner = AESGCM(_derive(data_key, b"", bound)).decrypt(
            wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound
        )
        return _SUITE.decrypt(
            inner, X25519PrivateKey.from_private_bytes(private_key), info=context.encode("link")
        )
    except (InvalidTag, ValueError) as exc:
        raise DecryptionFailed("the content key cannot be decrypted") from exc


def seal_manifest(
    manifest: bytes, content_key: bytes, random_bytes: Callable[[int], bytes]
) -> bytes:
    nonce = random_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_derive(content_key, b"", b"gatehouse manifest")).encrypt(
        nonce, manifest, b"manifest"
    )


def open_manifest(sealed: bytes, content_key: bytes) -> bytes:
    """Decrypt a manifest. Raises DecryptionFailed."""
    key = _derive(content_key, b"", b"gatehouse manifest")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"manifest")
    except (InvalidTag, ValueError) as exc:
        raise DecryptionFailed("the manifest cannot be decrypted") from exc


def item_key(content_key: bytes, number: int) -> bytes:
    """Return the key of one item in a version. The key cannot decrypt other items."""
    return _derive(content_key, b"", f"gatehouse item {number}".encode("ascii"))


def ciphertext_size(size: int) -> int:
    """Return the ciphertext size in bytes for an item of `size` bytes."""
    chunks = max(1, -(-size // CHUNK_BYTES))
    return _HEADER_BYTES + size + chunks * _TAG_BYTES


class ItemEncryptor:
    """Encrypts one item of a version. Pass the plaintext to `update` in pieces of any size, then
    call `finish`.
    """

    def __init__(self, content_key: bytes, number: int) -> None:
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        self._output = sodium.crypto_secretstream_xchacha20poly1305_init_push(
            self._state, item_key(content_key, number)
        )
        self._buffer = bytearray()

    def update(self, plaintext: bytes) -> bytes:
        """Return the ciphertext of the completed chunks."""
        self._buffer += plaintext
        while len(self._buffer) > CHUNK_BYTES:
            self._push(bytes(self._buffer[:CHUNK_BYTES]), _MESSAGE)
            del self._buffer[:CHUNK_BYTES]
        return self._take()

    def finish(self) -> bytes:
        """Return the rest of the ciphertext. The last chunk is marked as final, which makes
        truncation detectable.
        """
        self._push(bytes(self._buffer), _FINAL)
        self._buffer.clear()
        return self._take()

    def _push(self, chunk: bytes, tag: int) -> None:
        self._output += sodium.crypto_secretstream_xchacha20poly1305_push(
            self._state, chunk, None, tag
        )

    def _take(self) -> bytes:
        output, self._output = self._output, b""
        return output


def encrypt_item(plaintext: bytes, content_key: bytes, number: int) -> bytes:
    encryptor = ItemEncryptor(content_key, number)
    return encryptor.update(plaintext) + encryptor.finish()


def decrypt_item(pieces: Iterable[bytes], key: bytes) -> Iterator[bytes]:
    """Decrypt a ciphertext, passed in pieces of any size, and yield the plaintext chunk by chunk.
    Raises DecryptionFailed.

    key: `item_key` of the item.
    Each yielded chunk is authentic. The content is complete only if the iteration ends without an
    error.
    """
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    buffer, started, final = bytearray(), False, False
    size = CHUNK_BYTES + _TAG_BYTES
    try:
        for piece in pieces:
            buffer += piece
            if not started and len(buffer) >= _HEADER_BYTES:
                header = bytes(buffer[:_HEADER_BYTES])
                sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
                del buffer[:_HEADER_BYTES]
                started = True
            while started and len(buffer) > size:
                final = yield from _pull(state, bytes(buffer[:size]), final)
                del buffer[:size]
        if started and buffer:
            final = yield from _pull(state, bytes(buffer), final)
    except (CryptoError, ValueError, RuntimeError) as exc:
        raise DecryptionFailed("the content cannot be decrypted") from exc
    if not final:
        raise DecryptionFailed("the content is truncated")


def _pull(
    state: sodium.crypto_secretstream_xchacha20poly1305_state, chunk: bytes, final: bool
) -> Generator[bytes, None, bool]:
    """Yield the plaintext of a chunk and return True if the chunk is the last one. Raises
    DecryptionFailed.
    """
    if final:
        raise DecryptionFailed("the content continues after its last chunk")
    plaintext, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, chunk, None)
    yield plaintext
    return tag == _FINAL


def _derive(material: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(material)
