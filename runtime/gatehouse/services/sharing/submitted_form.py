"""Reads the multipart/form-data body of a submission as it arrives. The text and the files exist
only in memory.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from gatehouse.core.errors import BadRequest, Problem
from gatehouse.features.secrets.link_token import INCOMPLETE
from gatehouse.features.secrets.models import FILES_BYTES_MAX, TEXT_BYTES_MAX
from gatehouse.features.secrets.schemas import (
    FILE_NAME_CHARS_MAX,
    FILES_MAX,
    MEDIA_TYPE,
    OCTETS,
    file_name_problem,
)
from gatehouse.features.secrets.service import NewItem
from gatehouse.platform.web.request import AsgiRequest

FORM_TYPE = "multipart/form-data"
#: Fields other than the files.
FIELDS = frozenset({"csrf", "submission", "link", "text"})
#: Maximum length of a field other than the text, and size of the parts up to the end of the link.
FIELD_CHARS_MAX, _FIELDS_BYTES_MAX = 1024, 16_384
#: Maximum size of a form. A text has up to two bytes for a line feed.
_BYTES_MAX = FILES_BYTES_MAX + 2 * TEXT_BYTES_MAX + 65_536
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


class InvalidContent(BadRequest, temporary=False):
    """The content of a submission cannot be accepted. `text`: name of the page text that explains
    the error.
    """

    title = "The content cannot be accepted"
    text = ""


def invalid_content(text: str) -> InvalidContent:
    problem = _PROBLEMS[text]
    error = InvalidContent(errors=(problem,))
    error.text = text
    return error


class SubmittedForm(MultiPartParser):
    """A form, and what was received of it so far."""

    spool_max_size = 0  # no file is written to the disk

    def __init__(self, request: AsgiRequest) -> None:
        """Raises BadRequest if the request has another media type."""
        if request.header(b"content-type").partition(";")[0].strip().lower() != FORM_TYPE:
            raise BadRequest(f"The request is not {FORM_TYPE}.")
        super().__init__(
            Headers(raw=list(request.fields)),
            request.stream(),
            max_files=FILES_MAX + 1,
            max_fields=len(FIELDS),
            max_part_size=_BYTES_MAX,
        )
        self._complete = False

    def on_end(self) -> None:
        self._complete = True

    async def receive(self, authorize: Callable[[], Awaitable[object]]) -> None:
        """Receives the form. authorize: called when the link was received, before more is read.
        Raises BadRequest.
        """
        stream = self._parts(self.stream, authorize)
        self.stream = stream
        async with aclosing(stream):
            try:
                await self.parse()
            except MultiPartException as exc:
                if exc.message.startswith("Too many files"):
                    raise invalid_content("too_many_files") from None
                raise BadRequest(f"The form is not valid {FORM_TYPE}.") from None
        names = [name for name, value in self.items if isinstance(value, str)]
        known = all(isinstance(value, str) or name == "file" for name, value in self.items)
        if not (self._complete and known and FIELDS.issuperset(names)) or len({*names}) < len(
            names
        ):
            raise BadRequest("The form is incomplete, or contains an unknown or repeated field.")
        if any(len(self.field(name)) > FIELD_CHARS_MAX for name in FIELDS - {"text"}):
            raise BadRequest("A field of the form is too long.")

    async def _parts(
        self, stream: AsyncIterator[bytes], authorize: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[bytes]:
        size, authorized = 0, False
        async for chunk in stream:
            size += len(chunk)
            if size > _BYTES_MAX:
                raise invalid_content("files_too_large")
            yield chunk  # and then, the parser has read it
            if not authorized and (size > _FIELDS_BYTES_MAX or self.field("link")):
                await authorize()
                authorized = True
        if not authorized:
            await authorize()

    def field(self, name: str) -> str:
        """A field or the text. Empty until it was received."""
        texts = (value for key, value in self.items if key == name and isinstance(value, str))
        return next(texts, "")

    @property
    def contents(self) -> list[NewItem]:
        """The text and the files. Browsers send line feeds as CR LF. Raises InvalidContent for
        missing content, an overlong text and for file names that are not allowed.
        """
        text = self.field("text").replace("\r\n", "\n").encode()
        # A browser sends an empty part if no file is selected.
        files = [
            value
            for _, value in self.items
            if isinstance(value, UploadFile) and (value.filename or value.size)
        ]
        if not text and not files:
            raise invalid_content("content_missing")
        if len(text) > TEXT_BYTES_MAX:
            raise invalid_content("text_too_long")
        if sum(file.size or 0 for file in files) > FILES_BYTES_MAX:
            raise invalid_content("files_too_large")
        if len(files) > FILES_MAX:
            raise invalid_content("too_many_files")
        names = [file.filename or "" for file in files]
        if any(
            not name or len(name) > FILE_NAME_CHARS_MAX or file_name_problem(name) for name in names
        ):
            raise invalid_content("invalid_file_name")
        if len({*names}) < len(names):
            raise invalid_content("same_file_name")
        items = [
            NewItem(
                file.file.read(),
                name,
                kind if re.fullmatch(MEDIA_TYPE, kind := file.content_type or "") else OCTETS,
            )
            for name, file in zip(names, files, strict=True)
        ]
        return [*([NewItem(text)] if text else []), *items]
