"""Commands of `gatehouse secrets` that request secrets. The retrieval links are created on this
machine.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from gatehouse.client import retrieval_links
from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli import shapes
from gatehouse.commands.cli.options import Output
from gatehouse.commands.cli.output import USAGE, count, note, print_fields, print_items, stop
from gatehouse.features.sharing.requests.schemas import CreatedSecretRequest, SecretRequestView

_PATH = "/v1/secret-requests"
_ID = re.compile(r"[0-9A-Za-z]{22}", re.ASCII)

RequestIdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Request ID: the 22 characters after `/r/` in the submission link."
    ),
]


def request(
    client: ConsoleClient,
    **settings: Any,
) -> Output:
    """Request a secret from someone without an account, and print the links, which are shown only
    once.

    Send the submission link to the person who has the secret, and keep the retrieval link. To open
    the submitted secret, run `gatehouse secrets open` with the retrieval link. Nobody else can open
    the secret.
    """
    link = retrieval_links.create()
    fields = {**shapes.request(settings), "retrieval_link": retrieval_links.parameters(link)}
    created = client.call(CreatedSecretRequest, "POST", _PATH, fields)
    retrieval_link = link.url(created.submission_link.partition("/r/")[0])

    def show() -> None:
        note(
            f"Created secret request {created.request.id} (expires at "
            f"{created.request.expires_at})."
        )
        note("The links are not shown again.")
        note(
            "Send the submission link. Keep the retrieval link to open the submitted secret "
            "with `gatehouse secrets open`."
        )
        print(f"submission\t{created.submission_link}")
        print(f"retrieval\t{retrieval_link}")

    value = {"id": created.request.id, "expires_at": created.request.expires_at}
    links = {"submission_link": created.submission_link, "retrieval_link": retrieval_link}
    return {**value, **links}, show


def list_requests(client: ConsoleClient, **filters: Any) -> Output:
    """List secret requests, newest first."""
    requests = list(client.items(SecretRequestView, _PATH, **shapes.request(filters)))

    def show() -> None:
        print_items(requests, "id", "label", "state", "created_at", "expires_at")
        note(count(len(requests), "secret request"))

    return requests, show


def show_request(client: ConsoleClient, id: RequestIdArgument) -> Output:
    """Show a secret request and the ID of the submitted secret. The path of the retrieval link
    begins with the secret ID.
    """
    item = client.get(SecretRequestView, f"{_PATH}/{checked_id(id, 'request')}")
    return item, lambda: print_fields(item)


def revoke_request(client: ConsoleClient, id: RequestIdArgument) -> Output:
    """Revoke a secret request permanently. A secret that was already submitted can still be
    opened.
    """
    path = f"{_PATH}/{checked_id(id, 'request')}/revoke"
    item = client.call(SecretRequestView, "POST", path)
    return item, lambda: print(f"Revoked secret request {item.id}.")


def checked_id(text: str, kind: str = "secret") -> str:
    """Return the ID of a secret or request. Exits with a usage error if the text is not an ID. The
    error omits the text, which may be a link."""
    if not _ID.fullmatch(text):
        command = "list" if kind == "secret" else "list-requests"
        stop(
            f"ID must be a {kind} ID of 22 letters and digits (see `gatehouse secrets {command}`), "
            "not a link",
            code=USAGE,
        )
    return text
