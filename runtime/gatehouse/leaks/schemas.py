"""Request and response shapes of leak reports, as defined by GitHub's secret scanning partner program."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatehouse.http.validation import invalid, rejected

REPORTS_MAX = 200

_REPORT = {
    "token": "gtk_live_3fGh82kLmQ0a...",
    "type": "gatehouse_api_key",
    "url": "https://github.com/octocat/Hello-World/blob/main/config.yml",
    "source": "content",
}
_LABEL = {
    "token_hash": "nVhRMQQd7nwJkJMsS5a3hFA2GNl24rl+DIj+RZdOc3g=",
    "token_type": "gatehouse_api_key",
    "label": "true_positive",
}


Text = Annotated[str, Meta(max_length=2000)]


class LeakReport(msgspec.Struct, frozen=True):
    """A reported token. Unknown fields are ignored."""

    token: Text
    type: Text = ""
    url: Text = ""
    source: Annotated[Text, Meta(description="Kind of the location, such as `content`, `commit` or `issue_body`.")] = ""

    def __repr__(self) -> str:
        return "LeakReport(...)"


class LeakLabel(msgspec.Struct, frozen=True):
    """Result of one report."""

    token_hash: Annotated[str, Meta(description="Base64 of the SHA-256 of the token.")]
    token_type: str
    label: Annotated[Literal["true_positive", "false_positive"], Meta(description="`true_positive`: the token belongs to a key.")]


LeakReports = Annotated[list[LeakReport], Meta(max_length=REPORTS_MAX, examples=[[_REPORT]])]
LeakLabels = Annotated[list[LeakLabel], Meta(examples=[[_LABEL]])]

_decoder = msgspec.json.Decoder(LeakReports)


def decode(body: bytes) -> list[LeakReport]:
    """Raises BadRequest, which repeats nothing of the body: it contains tokens."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise rejected(exc, LeakReports) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid("body", "is not valid JSON", "send a JSON array of {token, type, url, source}") from None


def label(report: LeakReport, *, is_key: bool) -> LeakLabel:
    digest = hashlib.sha256(report.token.encode("utf-8", "surrogatepass")).digest()
    return LeakLabel(base64.b64encode(digest).decode(), report.type, "true_positive" if is_key else "false_positive")
