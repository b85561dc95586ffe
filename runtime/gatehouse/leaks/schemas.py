"""The JSON of leak reports, as GitHub's secret scanning partner programme sends them and takes the answers."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from gatehouse.errors import BadRequest, Problem
from gatehouse.leaks.report_signatures import LeakReport

REPORTS_MAX = 200


TEXT_CHARS_MAX = 2000


EXAMPLE_REPORT = {
    "token": "gtk_live_3fGh82kLmQ0a...",
    "type": "gatehouse_api_key",
    "url": "https://github.com/octocat/Hello-World/blob/main/config.yml",
    "source": "content",
}


EXAMPLE_ANSWER = {
    "token_hash": "nVhRMQQd7nwJkJMsS5a3hFA2GNl24rl+DIj+RZdOc3g=",
    "token_type": "gatehouse_api_key",
    "label": "true_positive",
}


class LeakLabel(msgspec.Struct, frozen=True):
    """`label`: true_positive, this is a key of ours; false_positive, it is none. `token_hash`: base64 of its SHA-256."""

    token_hash: str
    token_type: str
    label: str


_decoder = msgspec.json.Decoder(list[LeakReport])


def decode(body: bytes) -> list[LeakReport]:
    """Raises BadRequest that repeats nothing of the body: it holds tokens."""
    try:
        reports = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _refused("body", "is no list of reports", "send a JSON array of {token, type, url, source}") from None
    if len(reports) > REPORTS_MAX:
        raise _refused("body", f"holds more than {REPORTS_MAX} reports", "send the others in another request")
    for index, report in enumerate(reports):
        if max(len(report.token), len(report.type), len(report.url), len(report.source)) > TEXT_CHARS_MAX:
            raise _refused(f"body[{index}]", f"holds a text of more than {TEXT_CHARS_MAX} characters", "send shorter ones")
    return reports


def label(report: LeakReport, *, ours: bool) -> LeakLabel:
    digest = hashlib.sha256(report.token.encode("utf-8", "surrogatepass")).digest()
    return LeakLabel(base64.b64encode(digest).decode(), report.type, "true_positive" if ours else "false_positive")


def describe(operation: dict[str, Any]) -> None:
    """Completes the OpenAPI operation of a report: its body is read raw, so no framework can tell its form."""
    text = {"type": "string", "maxLength": TEXT_CHARS_MAX}
    report = {
        "type": "object",
        "required": ["token"],
        "properties": {"token": text, "type": text, "url": text, "source": text},
    }
    reports = {"type": "array", "maxItems": REPORTS_MAX, "items": report, "examples": [[EXAMPLE_REPORT]]}
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reports}}}
    members = {"token_hash": {"type": "string"}, "token_type": {"type": "string"}}
    members["label"] = {"type": "string", "enum": ["true_positive", "false_positive"]}  # type: ignore[dict-item]
    one = {"type": "object", "required": ["token_hash", "token_type", "label"], "properties": members}
    labels = {"type": "array", "items": one, "examples": [[EXAMPLE_ANSWER]]}
    operation["responses"]["200"]["content"] = {"application/json": {"schema": labels}}


def _refused(location: str, message: str, fix: str) -> BadRequest:
    return BadRequest("The reports cannot be read", errors=(Problem(location, message, fix),))
