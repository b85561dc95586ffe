"""Response with the content of a file: validators, a byte range, and a streamed body (RFC 9110)."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gatehouse.agent.directory import OpenFile

CHUNK_BYTES = 262_144
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
#: The content is not trusted: a browser must neither execute it nor guess its type.
_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "public, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class FileResponse(Response):
    """Streams an open file and always closes it."""

    def __init__(self, file: OpenFile, request: Request) -> None:
        self._file = file
        tag, modified = etag(file), formatdate(file.modified_ns // 1_000_000_000, usegmt=True)
        headers = {**_HEADERS, "ETag": tag, "Last-Modified": modified}
        self._first, self._length, status = 0, file.size, 200
        if not_modified(request, tag, file.modified_ns):
            self._length, status = 0, 304
        else:
            headers["Content-Type"] = content_type(file.name)
            headers["Content-Disposition"] = disposition(file.name)
            part = byte_range(request, tag, modified, file.size)
            if part == "unsatisfiable":
                self._length, status = 0, 416
                headers["Content-Range"] = f"bytes */{file.size}"
            elif isinstance(part, tuple):
                self._first, self._length, status = part[0], part[1] - part[0] + 1, 206
                headers["Content-Range"] = f"bytes {part[0]}-{part[1]}/{file.size}"
            headers["Content-Length"] = str(self._length)
        if request.method == "HEAD":
            self._length = 0
        super().__init__(None, status, headers)
        if status != 304:
            self.headers["Content-Length"] = headers["Content-Length"]
        elif "content-length" in self.headers:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            position, end = self._first, self._first + self._length
            while position < end:
                size = min(CHUNK_BYTES, end - position)
                chunk = await asyncio.to_thread(os.pread, self._file.fd, size, position)
                if not chunk:
                    # The body is shorter than Content-Length: only closing the connection signals this.
                    raise ConnectionAbortedError("the file was truncated while it was sent")
                position += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


def etag(file: OpenFile) -> str:
    """A strong validator: a write changes the modification time, a replacement the inode."""
    return f'"{file.modified_ns:x}-{file.size:x}-{file.inode:x}"'


def content_type(name: str) -> str:
    """The media type by file name. Text is declared as UTF-8. A compressed file has the type of its compression."""
    guessed, encoding = mimetypes.guess_type(name, strict=True)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    if guessed is None:
        return "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


def disposition(name: str) -> str:
    """`attachment` with the plain and the extended file name (RFC 6266, RFC 8187)."""
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def not_modified(request: Request, tag: str, modified_ns: int) -> bool:
    """Evaluates If-None-Match or, without it, If-Modified-Since (RFC 9110, section 13.2.2)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or tag in {value.strip().removeprefix("W/") for value in tags.split(",")}
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and modified_ns // 1_000_000_000 <= since


def byte_range(request: Request, tag: str, modified: str, size: int) -> tuple[int, int] | str | None:
    """The first and last byte of the range, or "unsatisfiable".

    None for the whole file: without a range, with several, with a malformed one, or if If-Range does not match.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if match is None or (condition is not None and condition not in {tag, modified}):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return (max(0, size - int(last)), size - 1) if int(last) and size else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return "unsatisfiable"
    return int(first), min(int(last), size - 1) if last else size - 1


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
