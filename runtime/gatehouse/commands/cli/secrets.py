"""`gatehouse secrets` shares secrets through the console and opens links. Content is never a
command argument.
"""

import base64
import getpass
import mimetypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from inspect import Parameter
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer
from gatehouse_client import ConsoleClient, Forbidden, NotFound, SharingClient
from gatehouse_client.models import OpenedItemView, OpenedSecret

from gatehouse.commands.cli import end_to_end, retrieval_links
from gatehouse.commands.cli.audit import trusted_keys
from gatehouse.commands.cli.common import shapes
from gatehouse.commands.cli.common.connection import (
    LOOPBACK,
    RETRIES,
    CommandClient,
    api_errors,
    is_url,
)
from gatehouse.commands.cli.common.options import Output, console_command
from gatehouse.commands.cli.common.output import (
    note,
    print_fields,
    print_items,
    print_json,
    print_sentence,
    print_text,
    reject,
    stop,
    terminal_text,
)
from gatehouse.commands.cli.common.shapes import parameters
from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.core.errors import BadRequest
from gatehouse.core.notation import count
from gatehouse.core.texts import first_line
from gatehouse.core.tokens.token import is_base62
from gatehouse.features.secret_requests.schemas import CreatedSecretRequest, CreateSecretRequest
from gatehouse.features.secrets import link_token
from gatehouse.features.secrets.deletion_receipt import is_signed
from gatehouse.features.secrets.models import CLAIM_S, ID_CHARS
from gatehouse.features.secrets.schemas import (
    CreatedSecret,
    CreateSecret,
    LinkReceipt,
    LinkView,
    ListOwned,
    Receipt,
    SecretPage,
    SecretView,
    UpdateSecret,
    display_name,
)

_PATH = "/v1/secrets"

SecretIdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Secret ID: the 22 characters after `/s/` in a link.")
]
FileOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        exists=True,
        dir_okay=False,
        readable=True,
        help="File to share instead of standard input. Repeatable.",
    ),
]
PassphraseFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File whose first line is the passphrase.")
]


def register(app: typer.Typer) -> None:
    secrets = typer.Typer(
        name="secrets", help="Share secrets with links, request secrets, and open links."
    )
    content = ("text", "files", "ciphertext_base64")
    commands: Sequence[tuple[Callable[..., Output], Sequence[Parameter]]] = (
        (create, parameters(CreateSecret, *content, "passphrase")),
        (show, ()),
        (replace, ()),
        (restore_version, ()),
        (revoke, ()),
        (receipt, ()),
        (request, parameters(CreateSecretRequest, "retrieval_link")),
    )
    for command, options in commands:
        console_command(secrets, command, options=options, once=command in (create, request))
    register_all(secrets, *_COMMANDS)
    secrets.command(name="open")(open_)
    secrets.command(name="verify-receipt")(verify_receipt)
    app.add_typer(secrets)


def create(
    client: CommandClient,
    file: FileOption = None,
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help="Prompt for a passphrase that recipients must enter."),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    encrypt: Annotated[
        bool,
        typer.Option(
            "--end-to-end",
            help="Encrypt the text on this machine. Recipients need the complete link.",
        ),
    ] = False,
    **settings: Any,
) -> Output:
    """Create a secret from standard input and print its links, which are shown only once.

    The line end (LF or CR LF) of a single line is removed. Text of several lines, such as a private
    key, and files are shared unchanged.

    Example: gatehouse secrets create --ttl 12h --uses 1 < password.txt
    """
    key = ""
    if encrypt:
        if file:
            reject("--end-to-end encrypts text from standard input: remove --file")
        typed = _read_text().encode()
        ciphertext, key = end_to_end.encrypt(typed, client.derive("end to end", typed))
        content: dict[str, Any] = {"ciphertext_base64": base64.b64encode(ciphertext).decode()}
    else:
        content = _content(file)
    text = _passphrase(passphrase_file, ask=passphrase, new=True)
    fields = {**content, **shapes.request(settings), **({"passphrase": text} if text else {})}
    created = client.call(CreatedSecret, "POST", _PATH, fields)
    links = [(link.recipient, f"{link.url}.{key}" if key else link.url) for link in created.links]
    if key and not all(link_token.parse(url) for _, url in links):
        stop("the console returned a malformed link, so the key was not added to it")

    def show() -> None:
        note(
            f"Created secret {created.secret.id}, which expires at "
            f"{created.secret.expires_at}. Links are not shown again:"
        )
        for name, url in links:
            print_text(f"{name}\t{url}" if name else url)

    value = {"id": created.secret.id, "expires_at": created.secret.expires_at}
    return {**value, "links": [{"recipient": name, "url": url} for name, url in links]}, show


def request(client: CommandClient, **settings: Any) -> Output:
    """Request a secret from someone without an account, and print the links, which are shown only
    once.

    Send the submission link to the person who has the secret, and keep the retrieval link. To open
    the submitted secret, run `gatehouse secrets open` with the retrieval link. Nobody else can open
    the secret.

    Example: gatehouse secrets request --purpose "database password"
    """
    link = retrieval_links.create(client.derive("retrieval link"))
    fields = {**shapes.request(settings), "retrieval_link": retrieval_links.parameters(link)}
    created = client.call(CreatedSecretRequest, "POST", "/v1/secret-requests", fields)
    secret, submission = created.secret, created.submission_link
    links = {
        "submission_link": submission,
        "retrieval_link": link.url(submission.partition("/r/")[0]),
    }

    def show() -> None:
        note(
            f"Requested secret {secret.id}, which expires at {secret.expires_at}. Links are not "
            f"shown again. Send the submission link. Keep the retrieval link to open the submitted "
            f"secret with `gatehouse secrets open`:"
        )
        for name, url in links.items():
            print_text(f"{name.removesuffix('_link')}\t{url}")

    return {"id": secret.id, "expires_at": secret.expires_at, **links}, show


def show(client: ConsoleClient, id: SecretIdArgument) -> Output:
    """Show the metadata of a secret.

    Example: gatehouse secrets show 8Wq2LrT5xKc9VbN4mZs7Pd
    """
    secret = _secret(client, id)

    def print_all() -> None:
        print_fields(secret, "versions", "links")
        print_items(secret.versions, "number", "created_at", "items", "size")
        print_items(secret.links, "id", "recipient", "state", "uses", "uses_max", "opened_at")

    return secret, print_all


def replace(client: ConsoleClient, id: SecretIdArgument, file: FileOption = None) -> Output:
    """Replace the content of a secret with standard input or files. The links stay the same and
    open the new version.

    Example: gatehouse secrets replace 8Wq2LrT5xKc9VbN4mZs7Pd < password.txt
    """
    return _versioned(_changed(client, id, "PUT", "/content", _content(file)))


def restore_version(
    client: ConsoleClient,
    id: SecretIdArgument,
    version: Annotated[
        int,
        typer.Argument(
            min=1, metavar="VERSION", help="Version number. `secrets show` lists the versions."
        ),
    ],
) -> Output:
    """Make an earlier version of the content the current version. The links stay the same and open
    that version.

    Fails if the secret is changed concurrently.

    Example: gatehouse secrets restore-version 8Wq2LrT5xKc9VbN4mZs7Pd 1
    """
    return _versioned(_changed(client, id, "POST", "/restore-version", {"version": version}))


def revoke(
    client: ConsoleClient,
    id: SecretIdArgument,
    link: Annotated[
        str,
        typer.Option(
            metavar="LINK_ID", help="Revoke only this link. `secrets show` lists the link IDs."
        ),
    ] = "",
) -> Output:
    """Revoke a secret, or one of its links, permanently.

    Example: gatehouse secrets revoke 8Wq2LrT5xKc9VbN4mZs7Pd
    """
    if link:
        path = f"{_PATH}/{checked_id(id)}/links/{link}/revoke"
        secret = client.call(SecretView, "POST", path)
        return secret, lambda: print_text(f"Revoked link {link} of secret {secret.id}.")
    secret = client.call(SecretView, "POST", f"{_PATH}/{checked_id(id)}/revoke")
    return secret, lambda: print_text(f"Revoked secret {secret.id}. Its content is being deleted.")


def receipt(client: ConsoleClient, id: SecretIdArgument) -> Output:
    """Show when links were opened and, after the content is deleted, the proof of deletion.

    Example: gatehouse secrets receipt 8Wq2LrT5xKc9VbN4mZs7Pd --json > r.json
    """
    value = client.get(Receipt, f"{_PATH}/{checked_id(id)}/receipt")

    def show() -> None:
        columns = ("id", "recipient", ("uses", _claims), "denied_attempts")
        print_items(value.links, *columns)
        if value.deletion is None:
            note(f"State: {value.state}. The content is not deleted yet.")
            return
        note(f"Deleted at {value.purged_at}. Statement:")
        print_text(value.deletion.statement)
        note(
            f"Signature ({value.deletion.algorithm}, {value.deletion.key_id}): "
            f"{value.deletion.signature or 'none'}"
        )

    return value, show


def verify_receipt(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="Output of `gatehouse secrets receipt ID --json`."
        ),
    ],
    public_key: Annotated[
        Path, typer.Option(help="PEM file with the trusted public keys for the checkpoints.")
    ],
) -> None:
    """Verify the proof of deletion in a receipt, offline. Exits with code 1 if the proof has no
    valid signature.

    Example: gatehouse secrets verify-receipt receipt.json --public-key keys.pem
    """
    keys = trusted_keys(public_key)
    try:
        deletion = msgspec.json.decode(file.read_bytes(), type=Receipt).deletion
    except msgspec.DecodeError:
        create = "gatehouse secrets receipt ID --json > FILE"
        reject(f"{file} is not a receipt; create the file with: {create}")
    if deletion is None:
        stop(f"{file} contains no proof: the content was not deleted when the receipt was created")
    try:
        signature = base64.b64decode(deletion.signature, validate=True)
    except ValueError:
        signature = b""
    if not is_signed(deletion.statement, signature, deletion.algorithm, keys):
        stop(f"the proof in {file} has no valid signature from a trusted key")
    statement = msgspec.json.decode(deletion.statement)
    objects = count(statement["object_versions"], "object version")
    print_sentence(
        f"valid: {objects} of secret {statement['secret']} deleted at {statement['deleted_at']}"
    )


def open_(
    output: Annotated[
        Path, typer.Option(help="Directory for files. Existing files are not overwritten.")
    ] = Path(),
    passphrase_file: PassphraseFileOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with files in base64.")
    ] = False,
    repeat: Annotated[
        bool,
        typer.Option(
            "--claim",
            help="Repeat a failed command without another use: read the claim that it printed "
            "after the link.",
        ),
    ] = False,
) -> None:
    """Open a link, which consumes one use. The link is read from standard input or a prompt, never
    from the command line.

    Prints text to standard output and writes files to the output directory, by default the current
    directory. If this fails, prints a claim with which the link can be opened again.

    Example: gatehouse secrets open < link.txt
    """
    link, key = end_to_end.split_link(_read_link())
    claim = _read_line("Claim: ") if repeat else token_hex(16)
    _check_folder(output)  # before the link is used
    with api_errors(), SharingClient(link.partition("/s/")[0], retries=RETRIES) as client:
        ask = not repeat and _look_up(client, link, key)
        passphrase = _passphrase(passphrase_file, ask=ask)
        with _repeatable(claim):
            opened = _opened(client, link, passphrase, claim)
            contents = [(item, _content_of(item, key)) for item in opened.items]
            if as_json:
                print_json([_json(item, content) for item, content in contents])
                sys.stdout.flush()
            else:
                for item, content in contents:
                    _save(item, content, output)
        client.acknowledge(link, claim)


def checked_id(text: str) -> str:
    """Return the ID of a secret. Exits with a usage error if the text is not an ID. The error omits
    the text, which may be a link."""
    if not is_base62(text, ID_CHARS):
        reject(
            "ID must be a secret ID of 22 letters and digits (see `gatehouse secrets list`), not a "
            "link"
        )
    return text


def _secret(client: ConsoleClient, id: str) -> SecretView:
    return client.get(SecretView, f"{_PATH}/{checked_id(id)}")


def _changed(
    client: ConsoleClient, id: str, method: str, action: str, changes: dict[str, Any]
) -> SecretView:
    """Change a secret, unless somebody else changes it at the same time."""
    revision = _secret(client, id).revision
    return client.call(SecretView, method, f"{_PATH}/{id}{action}", changes, version=revision)


def _versioned(secret: SecretView) -> Output:
    text = f"Secret {secret.id} has version {secret.versions[0].number}."
    return secret, lambda: print_text(text)


def _claims(link: LinkReceipt) -> str:
    return "; ".join(
        f"{claim.claimed_at} (received: {claim.acknowledged_at or 'not confirmed'})"
        for claim in link.claims
    )


def _uses(links: list[LinkView]) -> str:
    return " ".join(f"{link.uses}/{link.uses_max}" for link in links)


def _updated(shown: dict[str, Any]) -> str:
    uses = _uses(shown["links"])
    return f"Updated secret {shown['id']}: uses {uses}, expires at {shown['expires_at']}."


def _content(files: list[Path] | None) -> dict[str, Any]:
    if not files:
        return {"text": _read_text()}
    return {"files": [_file(path) for path in files]}


def _file(path: Path) -> dict[str, str]:
    content = base64.b64encode(path.read_bytes()).decode()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"name": path.name, "media_type": media_type, "content_base64": content}


def _read_text() -> str:
    if sys.stdin.isatty():
        note("Type the secret, then press Ctrl-D on a new line:")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        reject("standard input is not UTF-8 text: to share a binary file, use --file")
    text = first_line(text)
    if not text:
        reject("no content: write the secret to standard input, or use --file")
    return text


def _read_link() -> str:
    link = _read_line("Link: ")
    base, _, fragment = link.partition("#")
    parts = urlsplit(base if is_url(base) else "")
    if not parts.path.startswith("/s/") or not fragment:
        reject("write the complete link to standard input: https://<host>/s/<id>#<secret>")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        reject("the link must begin with https://")
    return link


def _read_line(prompt: str) -> str:
    return (getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()).strip()


def _passphrase(file: Path | None, *, ask: bool, new: bool = False) -> str:
    """Return the passphrase, or an empty string if there is none. `new`: the user enters the
    passphrase twice.
    """
    if file is not None:
        try:
            return file.read_text(encoding="utf-8-sig").partition("\n")[0]
        except (OSError, UnicodeDecodeError):
            reject("the file in --passphrase-file cannot be read")
    if not ask:
        return ""
    try:
        passphrase = getpass.getpass("Passphrase: ")
        if new and getpass.getpass("Passphrase again: ") != passphrase:
            reject("the passphrases do not match")
    except EOFError:
        reject("a passphrase is required: use --passphrase-file")
    return passphrase


def _check_folder(folder: Path) -> None:
    try:
        TemporaryFile(dir=folder).close()
    except OSError:
        reject(f"{folder} is not a directory in which files can be created: use --output")


def _look_up(client: SharingClient, link: str, key: str) -> bool:
    """Print who sent a secret, and return True if the link has a passphrase. Exits with a usage
    error if the key of an end-to-end link is missing.
    """
    preview = client.look_up(link)
    note(
        f"From {preview.sender} ({'' if preview.sender_verified else 'not '}verified), created at "
        f"{_timestamp(preview.created_at)}, expires at {_timestamp(preview.expires_at)}."
    )
    if preview.end_to_end and not key:
        reject("the link is incomplete: the key after the dot is missing")
    return preview.passphrase


def _timestamp(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _opened(client: SharingClient, link: str, passphrase: str, claim: str) -> OpenedSecret:
    """Open a link. A link that is opened again cannot be looked up, so the command prompts for a
    passphrase if the service requires one.
    """
    try:
        return client.open(link, passphrase, claim)
    except Forbidden:
        if passphrase:
            raise
    return client.open(link, _passphrase(None, ask=True), claim)


@contextmanager
def _repeatable(claim: str) -> Iterator[None]:
    """Print the claim after a failure, unless the service denied the opening."""
    try:
        yield
    except (Forbidden, NotFound):
        raise
    except BaseException as exc:
        note(
            f"To open the link again without another use, within {CLAIM_S / 60:g} minutes, run "
            f"`gatehouse secrets open --claim` and enter the link, then this claim: {claim}"
        )
        if isinstance(exc, OSError) and not isinstance(exc, BrokenPipeError):
            stop(f"the content cannot be written: {exc.strerror}")
        raise


def _content_of(item: OpenedItemView, key: str) -> bytes:
    """Return the content of an item. `key`: decrypts the text of an end-to-end link. Raises
    BadRequest for other content, with which the server can replace the text.
    """
    if key and (item.text is not None or item.name):
        raise BadRequest("the content is not encrypted with the key at the end of the link")
    if item.text is not None:
        return item.text.encode()
    content = item.content_base64 or b""
    return content if item.name else end_to_end.decrypt(content, key)


def _json(item: OpenedItemView, content: bytes) -> dict[str, str]:
    if not item.name:
        return {"text": content.decode("utf-8", "replace")}
    return {
        "name": item.name,
        "media_type": item.media_type,
        "content_base64": base64.b64encode(content).decode(),
    }


def _save(item: OpenedItemView, content: bytes, folder: Path) -> None:
    """Write text to standard output, and a file to a new file, which is removed after a failure."""
    if not item.name:
        text = content.decode("utf-8", "replace")
        sys.stdout.write(terminal_text(text) + "\n" if sys.stdout.isatty() else text)
        sys.stdout.flush()
        return
    path, handle = _new_file(folder, item.name)
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    note(f"Wrote {path} ({len(content)} bytes).")


def _new_file(folder: Path, sent_name: str) -> tuple[Path, int]:
    """Create a file and return its path and descriptor. The name that the sender chose leads to no
    other directory, and to no hidden file in the home directory, where shells and other programs
    run or read such files. Existing files are never replaced, and symbolic links are never
    followed."""
    name = Path(display_name(sent_name))
    if folder.resolve() == Path.home().resolve():
        name = Path(display_name(name.name.lstrip(".")))
    for number in range(1000):
        path = folder / (f"{name.stem}-{number}{name.suffix}" if number else name.name)
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        except OSError as exc:
            stop(f"{path} cannot be written: {exc.strerror}")
    return stop(f"{folder} contains too many files with names similar to {name.name}")


_COMMANDS = (
    Command(
        name="list",
        operation="GET /v1/secrets",
        shape=ListOwned,
        response=SecretPage,
        help="List secrets, newest first.",
        columns=(
            "id",
            "label",
            "state",
            ("uses", lambda secret: _uses(secret.links)),
            "created_at",
            "expires_at",
        ),
    ),
    Command(
        name="update",
        operation="PATCH /v1/secrets/{secret}",
        shape=UpdateSecret,
        response=SecretView,
        version="revision",
        resolve=lambda _, text: checked_id(text),
        help="Change the expiry, uses or label of a secret. Omitted values stay unchanged.\n\n"
        "Fails if the secret is changed concurrently.",
        example="8Wq2LrT5xKc9VbN4mZs7Pd --uses 3",
        done=_updated,
    ),
)
