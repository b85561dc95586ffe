"""Commands of `gatehouse secrets` that request secrets. The retrieval links are created on this
machine.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from gatehouse.client import retrieval_links
from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli.options import Output, seconds
from gatehouse.commands.cli.output import USAGE, count, note, print_table, stop
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
    purpose: Annotated[
        str,
        typer.Option(
            help=(
                "Description of the requested secret and the reason. Shown to everyone who "
                "opens the request page."
            )
        ),
    ],
    ttl: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Lifetime of the request, such as 12h. Default: 3d."),
    ] = "",
    requester: Annotated[str, typer.Option(help="Your name, which submitters see.")] = "",
    label: Annotated[
        str | None, typer.Option(help="Label for your own use. Not shown to submitters.")
    ] = None,
) -> Output:
    """Request a secret from someone without an account, and print the links, which are shown only
    once.

    Send the submission link to the person who has the secret, and keep the retrieval link. To open
    the submitted secret, run `gatehouse secrets open` with the retrieval link. Nobody else can open
    the secret.
    """
    link = retrieval_links.create()
    optional = {
        "ttl_s": seconds("--ttl", ttl) if ttl else None,
        "requester": requester or None,
        "label": label,
    }
    parameters: dict[str, Any] = {
        "purpose": purpose,
        "retrieval_link": retrieval_links.parameters(link),
    }
    parameters |= {name: value for name, value in optional.items() if value}
    created = client.call(CreatedSecretRequest, "POST", _PATH, parameters)
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


def list_requests(
    client: ConsoleClient,
    owner: Annotated[str, typer.Option(help="Owner, such as key:3fGh82kLmQ0a. Default: you.")] = "",
) -> Output:
    """List secret requests, newest first."""
    requests = list(client.items(SecretRequestView, _PATH, owner=owner or None))
    rows = [
        (item.id, item.label, item.state, item.created_at, item.expires_at) for item in requests
    ]

    def show() -> None:
        print_table(("id", "label", "state", "created", "expires"), rows)
        note(count(len(rows), "secret request"))

    return requests, show


def show_request(client: ConsoleClient, id: RequestIdArgument) -> Output:
    """Show a secret request and the ID of the submitted secret. The path of the retrieval link
    begins with the secret ID.
    """
    item = client.get(SecretRequestView, f"{_PATH}/{checked_id(id, 'request')}")
    properties = {
        "id": item.id,
        "owner": item.owner,
        "requester": item.requester,
        "purpose": item.purpose,
        "label": item.label,
        "state": item.state,
        "created": item.created_at,
        "expires": item.expires_at,
        "secret": item.secret or "",
        "submitted": item.submitted_at or "",
    }
    return item, lambda: print_table(("", ""), list(properties.items()))


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
