"""`gatehouse keys set-signing` and `remove-signing`: how a key's requests are signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.cli import key_life
from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import USAGE, note, print_json, stop


def register(keys: typer.Typer) -> None:
    keys.command(name="set-signing")(set_signing)
    keys.command(name="remove-signing")(remove_signing)


def set_signing(
    key_id: key_life.KeyId,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ed25519 public key (PEM). Default: an HMAC secret is made and shown.")
    ] = None,
    optional: Annotated[bool, typer.Option("--optional", help="Let unsigned requests pass; wrong signatures never do.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Require signed requests (RFC 9421) and print the signing secret: this once, it cannot be had again."""
    wish: dict[str, Any] = {"algorithm": "hmac-sha256", "required": not optional}
    if public_key is not None:
        try:
            wish |= {"algorithm": "ed25519", "public_key": public_key.read_text()}
        except (OSError, UnicodeDecodeError) as exc:
            stop(f"--public-key {public_key} cannot be read ({type(exc).__name__}); name a PEM file", code=USAGE)
    with connect(console, token) as client:
        done = client.set_signing(key_life.checked_id(key_id), wish)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    if done.secret is None:
        print(f"requests of {done.key.id} ({done.key.name}) are checked with the public key: {key_life.when(done.effective)}")
        return
    note(f"signing secret of {done.key.id} ({done.key.name}); keep it now, it is not shown again:")
    print(done.secret)


def remove_signing(
    key_id: key_life.KeyId, console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False
) -> None:
    """Remove the signing key; first `gatehouse keys update ID --no-require-signature`."""
    with connect(console, token) as client:
        key_life.say("removed the signing key of", client.remove_signing(key_life.checked_id(key_id)), as_json)
