"""Request and response shapes of POST /v1/requests/submit, with which programs submit a secret."""

from __future__ import annotations

import msgspec

from gatehouse.sharing.schemas import Files, Text


class SubmitSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body in JSON. `submission`: chosen by the client, so that it can repeat a request."""

    link: str
    submission: str = ""
    text: Text | None = None
    files: Files = []

    def __repr__(self) -> str:
        return "SubmitSecret(...)"


class SubmittedSecret(msgspec.Struct, frozen=True):
    """The secret was received. A request that repeats `submission` changes nothing."""

    submission: str
