"""Encrypts and decrypts secrets, without I/O and clock. Test vectors: docs/sharing-vectors.json.

Each version of a secret has a random content key. For each link, the content key is encrypted
twice:

1. To the X25519 public key of the link with HPKE (RFC 9180). The private key is derived from the
   link secret and the passphrase with HKDF-SHA256 (RFC 5869) and Argon2id (RFC 9106), and is not
   stored.
2. Under the KMS data key of the version with AES-256-GCM.

Access to KMS, the table and the bucket is therefore not sufficient to decrypt an unopened secret,
and neither is a link without access to KMS. The public keys of links are stored, so a new version
can be encrypted to existing links.

The content key encrypts the manifest and each item with AES-256-GCM, each under a key of its own.
"""

import hmac
import json
import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gatehouse.core.texts import passphrase_form

KEY_BYTES = 32
SALT_BYTES = 16
FORMAT = 1

#: The second option that RFC 9106, section 4, recommends (64 MiB, three passes), but with one lane.
ARGON2_MEMORY_KIB = 64 * 1024
ARGON2_PASSES = 3

_NONCE_BYTES = 12
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


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


def matches(link_secret: str, path: str, stored: bytes | None) -> bool:
    """Compare a link secret with a stored verifier in constant time. None: an unknown link, for
    which the verifier is computed and compared as well.
    """
    expected = bytes(KEY_BYTES) if stored is None else stored
    return hmac.compare_digest(verifier(link_secret, path), expected) and stored is not None


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """Return the key of a passphrase in its comparable form. Takes about 100 ms. `salt`: 16
    bytes.
    """
    argon2 = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=ARGON2_PASSES,
        lanes=1,
        memory_cost=ARGON2_MEMORY_KIB,
    )
    return argon2.derive(passphrase_form(passphrase).encode("utf-8"))


def link_keys(link_secret: str, path: str, passphrase_key: bytes = b"") -> LinkKeys:
    """Return the keys of a link. `passphrase_key`: empty for a link without a passphrase."""
    material = link_secret.encode("ascii") + passphrase_key
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


def wrap(content_key: bytes, public_key: bytes, data_key: bytes, context: Context) -> bytes:
    inner = _SUITE.encrypt(
        content_key, X25519PublicKey.from_public_bytes(public_key), info=context.encode("link")
    )
    bound = context.encode("data-key")
    return _encrypt(inner, _derive(data_key, b"", bound), bound)


def unwrap(wrapped: bytes, private_key: bytes, data_key: bytes, context: Context) -> bytes:
    bound = context.encode("data-key")
    try:
        inner = _decrypt(wrapped, _derive(data_key, b"", bound), bound)
        return _SUITE.decrypt(
            inner, X25519PrivateKey.from_private_bytes(private_key), info=context.encode("link")
        )
    except (InvalidTag, ValueError) as exc:
        raise DecryptionFailed("the content key cannot be decrypted") from exc


def seal(plaintext: bytes, content_key: bytes, part: str) -> bytes:
    """Encrypt a part of a version: `manifest`, or an item such as `item 0`. Each part has a key
    that cannot decrypt other parts.
    """
    name = part.encode("ascii")
    key = _derive(content_key, b"", b"gatehouse " + name)
    return _encrypt(plaintext, key, name)


def unseal(sealed: bytes, content_key: bytes, part: str) -> bytes:
    name = part.encode("ascii")
    try:
        return _decrypt(sealed, _derive(content_key, b"", b"gatehouse " + name), name)
    except (InvalidTag, ValueError) as exc:
        raise DecryptionFailed("the content cannot be decrypted") from exc


def _encrypt(plaintext: bytes, key: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def _decrypt(sealed: bytes, key: bytes, bound: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)


def _derive(material: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(material)
