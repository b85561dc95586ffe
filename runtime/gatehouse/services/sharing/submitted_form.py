"""Reads the multipart/form-data body of a submission as it arrives. The text and the files are kept
only in memory.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from gatehouse.core.errors import BadRequest, BodyTooLarge, Problem
from gatehouse.features.sharing.link_token import INCOMPLETE
from gatehouse.features.sharing.models import FILES_BYTES_MAX, TEXT_BYTES_MAX
from gatehouse.features.sharing.schemas import (
    FILE_NAME_CHARS_MAX,
    FILES_MAX,
    MEDIA_TYPE,
    OCTETS,
    file_name_problem,
)
from gatehouse.features.sharing.service import NewItem
from gatehouse.platform.http.asgi import KeepBytes
from gatehouse.platform.http.multipart import MultipartReader, Part

FIELDS = frozenset({"csrf", "submission", "link", "text"})
FILE_FIELD = "file"
#: Maximum size of a field other than the text.
FIELD_BYTES_MAX = 1024
#: Number of bytes up to which an oversized body is read and discarded, so that the browser shows
#: the response.
DISCARDED_BYTES_MAX = 256 * 1024 * 1024
#: Problems with the content, by the name of the page text that explains the problem.
_PROBLEMS = {
    "bad_link": Problem(*INCOMPLETE),
    "content_missing": Problem("body", "has no content", "send text or a file"),
    "text_too_long": Problem(
        "body.text", f"is longer than {TEXT_BYTES_MAX} bytes of UTF-8", "send it as a file"
    ),
    "files_too_large": Problem(
        "body.files", f"are larger than {FILES_BYTES_MAX} bytes in total", "send smaller files"
    ),
    "too_many_files": Problem(
        "body.files", "has too many items", f"send at most {FILES_MAX} files"
    ),
    "invalid_file_name": Problem(
        "body.files",
        "contains a file name that is not allowed",
        f"send 1 to {FILE_NAME_CHARS_MAX} printable characters without a directory",
    ),
    "same_file_name": Problem(
        "body.files", "contains two files with the same name", "rename a file"
    ),
}


class InvalidContent(BadRequest):
    """The content of a submission cannot be accepted. `text`: name of the page text that explains
    the error.
    """

    code, title = "invalid_content", "The content cannot be accepted"
    text = ""


def invalid_content(text: str) -> InvalidContent:
    problem = _PROBLEMS[text]
    error = InvalidContent(
        f"{problem.location} {problem.message}: {problem.fix}.", errors=(problem,)
    )
    error.text = text
    return error


@dataclass(slots=True)
class SubmittedForm:
    """The fields and files of a form. The string representation contains no content."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[NewItem] = field(default_factory=list)

    def __repr__(self) -> str:
        return "SubmittedForm(...)"

    @property
    def items(self) -> list[NewItem]:
        """The text and the files. Raises InvalidContent for missing content, an overlong text and
        duplicate file names.
        """
        text = self.fields.get("text", "").encode()
        if not text and not self.files:
            raise invalid_content("content_missing")
        if len(text) > TEXT_BYTES_MAX:
            raise invalid_content("text_too_long")
        if len({file.name for file in self.files}) < len(self.files):
            raise invalid_content("same_file_name")
        return [*([NewItem(text)] if text else []), *self.files]


async def read_form(
    body: AsyncIterator[bytes],
    content_type: str,
    authorize: Callable[[dict[str, str]], Awaitable[None]],
    admit: Callable[[], None],
    keep: KeepBytes,
    form: SubmittedForm,
) -> None:
    """Read a form into `form`. Calls `authorize` with the fields before the text or a file is read,
    and `admit` before the first file is read. `keep` counts the bytes in memory. The other fields
    must precede the text, and the text must precede the files.

    Raises BadRequest for unknown and repeated fields, InvalidContent, and any error from
    `authorize`, `admit` and `keep`.
    """
    reader = MultipartReader(body, content_type)
    authorized = admitted = False
    while (part := await reader.next_part()) is not None:
        is_file = part.file_name is not None
        if not is_file and (authorized or part.name not in FIELDS or part.name in form.fields):
            raise BadRequest(
                "The form contains an unknown or repeated field, or a field after the text or "
                "a file."
            )
        if not authorized and (is_file or part.name == "text"):
            await authorize(form.fields)
            authorized = True
        if not is_file:
            form.fields[part.name] = await _field(reader, part.name, keep)
            continue
        if not admitted:
            admit()
            admitted = True
        bytes_left = FILES_BYTES_MAX - sum(len(file.content) for file in form.files)
        file = await _file(reader, part, bytes_left, keep)
        if file is not None:
            form.files.append(file)
            if len(form.files) > FILES_MAX:
                raise invalid_content("too_many_files")
    if not authorized:
        await authorize(form.fields)


async def discard(body: AsyncIterator[bytes]) -> None:
    """Read the rest of a body up to a limit."""
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > DISCARDED_BYTES_MAX:
            return


async def _field(reader: MultipartReader, name: str, keep: KeepBytes) -> str:
    """Return a field, decoded as UTF-8, with each CR LF converted to a line feed. Browsers send
    line feeds as CR LF.
    """
    bytes_max = 2 * TEXT_BYTES_MAX if name == "text" else FIELD_BYTES_MAX
    try:
        return (await reader.read(bytes_max, keep)).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise BadRequest("A field of the form is not UTF-8.") from None
    except BodyTooLarge:
        if name == "text":
            raise invalid_content("text_too_long") from None
        raise BadRequest("A field of the form is too long.") from None


async def _file(
    reader: MultipartReader, part: Part, bytes_left: int, keep: KeepBytes
) -> NewItem | None:
    """Return a file, or None for the empty part that a browser sends if no file is selected."""
    if part.name != FILE_FIELD:
        raise BadRequest("The form contains a file in an unknown field.")
    try:
        content = await reader.read(bytes_left, keep)
    except BodyTooLarge:
        raise invalid_content("files_too_large") from None
    name = part.file_name or ""
    if not name and not content:
        return None
    if not name or len(name) > FILE_NAME_CHARS_MAX or file_name_problem(name):
        raise invalid_content("invalid_file_name")
    media_type = part.media_type if re.fullmatch(MEDIA_TYPE, part.media_type) else OCTETS
    return NewItem(content, name, media_type)
