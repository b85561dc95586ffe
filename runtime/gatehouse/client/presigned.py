"""Transfers large files between a program and S3 with presigned requests. Files are encrypted and
decrypted on this machine.

A presigned URL is a credential that is valid for 60 seconds. httpx logs URLs at the level INFO, so
this module removes the query of presigned URLs from the httpx log.
"""

from __future__ import annotations

import io
import logging
from typing import BinaryIO

import httpx

from gatehouse.features.sharing.encryption import ItemEncryptor, ciphertext_size

_READ_BYTES = 64 * 1024
_SIGNATURE = "X-Amz-Signature"


class EncryptedFile(io.RawIOBase):
    """The ciphertext of a file, encrypted as it is read.

    Supports seeking to the beginning, which restarts encryption, and to the end.
    """

    def __init__(self, file: BinaryIO, size: int, content_key: bytes, number: int) -> None:
        self._file = file
        self._ciphertext_size = ciphertext_size(size)
        self._content_key = content_key
        self._number = number
        self._encryptor: ItemEncryptor | None = None
        self._buffer = bytearray()
        self._position = 0
        self._begin()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if (offset, whence) == (0, io.SEEK_SET):
            self._begin()
        elif (offset, whence) == (0, io.SEEK_END):
            self._position = self._ciphertext_size
        else:
            raise io.UnsupportedOperation(
                "a ciphertext supports seeking only to the beginning and the end"
            )
        return self._position

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._buffer and self._encryptor is not None:
            plaintext = self._file.read(_READ_BYTES)
            if plaintext:
                self._buffer += self._encryptor.update(plaintext)
            else:
                self._buffer += self._encryptor.finish()
                self._encryptor = None
        size = min(len(target), len(self._buffer))
        target[:size] = self._buffer[:size]
        del self._buffer[:size]
        self._position += size
        return size

    def _begin(self) -> None:
        self._file.seek(0)
        self._encryptor = ItemEncryptor(self._content_key, self._number)
        self._buffer = bytearray()
        self._position = 0


def file_size(file: BinaryIO) -> int:
    """Return the size of a seekable file in bytes. Moves the position to the beginning."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _without_signature(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(
            value.copy_with(query=None)
            if isinstance(value, httpx.URL) and _SIGNATURE in value.params
            else value
            for value in record.args
        )
    return True


logging.getLogger("httpx").addFilter(_without_signature)
