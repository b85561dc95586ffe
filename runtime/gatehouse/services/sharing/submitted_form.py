"""Reads the multipart/form-data body of a submission as it arrives. The text and the files exist
only in memory.
"""

import re

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
from gatehouse.platform.web.uploads import MultipartForm, Part, decoded

#: Order of the parts of a form: fields, then the text, then the files.
PARTS = {"csrf": 0, "submission": 0, "link": 0, "text": 1, "file": 2}
#: Maximum size of a field other than the text.
FIELD_BYTES_MAX = 1024
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


class SubmittedForm(MultipartForm):
    def write(self, chunk: bytes) -> None:
        """Parse a piece of the body. Raises BadRequest for unknown, repeated and oversized parts,
        and for parts in another order.
        """
        super().write(chunk)
        fields = [part.name for part in self.parts if part.file_name is None]
        known = all((part.file_name is None) != (part.name == "file") for part in self.parts)
        order = [PARTS.get(part.name, -1) for part in self.parts]
        if not known or -1 in order or order != sorted(order) or len({*fields}) < len(fields):
            raise BadRequest(
                "The form contains an unknown or repeated field, or a field after the text or "
                "a file."
            )
        if any(len(part.content) > FIELD_BYTES_MAX for part in self.parts if not PARTS[part.name]):
            raise BadRequest("A field of the form is too long.")
        if len(self._content("text")) > 2 * TEXT_BYTES_MAX:
            raise invalid_content("text_too_long")
        if sum(len(part.content) for part in self.files) > FILES_BYTES_MAX:
            raise invalid_content("files_too_large")
        if len(self.files) > FILES_MAX:
            raise invalid_content("too_many_files")

    @property
    def has_content(self) -> bool:
        return any(PARTS[part.name] for part in self.parts)

    @property
    def files(self) -> list[Part]:
        """The files, without the empty part that a browser sends if no file is selected."""
        parts = [part for part in self.parts if part.file_name is not None]
        return [part for part in parts if part.file_name or part.content]

    def field(self, name: str) -> str:
        """A field or the text, as far as it was received."""
        return self._content(name).decode("utf-8", "replace")

    @property
    def items(self) -> list[NewItem]:
        """The text and the files. Browsers send line feeds as CR LF. Raises BadRequest for a text
        that is not UTF-8, and InvalidContent for missing content, an overlong text and for file
        names that are not allowed.
        """
        text = decoded(self._content("text")).replace("\r\n", "\n").encode()
        if not text and not self.files:
            raise invalid_content("content_missing")
        if len(text) > TEXT_BYTES_MAX:
            raise invalid_content("text_too_long")
        names = [part.file_name or "" for part in self.files]
        if any(
            not name or len(name) > FILE_NAME_CHARS_MAX or file_name_problem(name) for name in names
        ):
            raise invalid_content("invalid_file_name")
        if len({*names}) < len(names):
            raise invalid_content("same_file_name")
        files = [
            NewItem(
                bytes(part.content),
                name,
                part.media_type if re.fullmatch(MEDIA_TYPE, part.media_type) else OCTETS,
            )
            for name, part in zip(names, self.files, strict=True)
        ]
        return [*([NewItem(text)] if text else []), *files]

    def _content(self, name: str) -> bytes | bytearray:
        return next((part.content for part in self.parts if part.name == name), b"")
