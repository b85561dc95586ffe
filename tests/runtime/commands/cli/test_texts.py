"""Text is stored as it was typed, whichever way it came, and is found however it is typed."""

import base64
import json
import secrets
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.runtime.commands.cli.conftest import Command, importer_command
from tests.runtime.commands.cli.test_secrets import (
    aws,
    console_folder,
    console_url,
    recipient,
    sender,
    sharing_url,
)
from tests.runtime.conftest import Database
from tests.runtime.core.test_texts import INVISIBLE, NAMES

__all__ = ["aws", "console_folder", "console_url", "recipient", "sender", "sharing_url"]


def post(command: Command, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {command.variables['GATEHOUSE_ADMIN_TOKEN']}"}
    url = command.variables["GATEHOUSE_CONSOLE_URL"] + path
    return httpx.post(url, json=body, headers=headers, timeout=60)


def imported(command: Command, database: Database, **fields: str) -> Command:
    importer = importer_command(command.folder, database.app_url, b"p" * 32)
    rows = {secrets.token_hex(16): fields}
    (importer.folder / "api_keys.json").write_text(json.dumps(rows), "utf-8-sig")
    return importer


@pytest.mark.parametrize(
    "kind", ["joiner in emoji", "joiner in Persian", "wide space", "decomposed"]
)
def test_name_is_stored_as_typed_and_found(
    operator: Command, database: Database, kind: str
) -> None:
    tag = f"t{secrets.token_hex(4)}"
    name = f"{NAMES[kind]} {tag}"
    fields = {"name": name, "notes": name, "tags": [tag], "metadata": {"a": name}}
    assert post(operator, "/v1/customers", {"id": tag, "name": name}).status_code == 201
    assert post(operator, "/v1/keys", {**fields, "customer_id": tag}).status_code == 201
    options = [("--name", name), ("--customer", tag), ("--notes", name), ("--tag", tag)]
    arguments = [word for option in [*options, ("--metadata", f"a={name}")] for word in option]
    assert operator.run("keys", "create", *arguments).code == 0
    importer = imported(operator, database, name=name, owner=name)
    assert importer.run("import", "api_keys.json").code == 0
    created = json.loads(operator.run("keys", "list", "--tag", tag, "--json").out)
    assert [{each: key[each] for each in fields} for key in created] == [fields] * 2
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    typed = [*forms, name.replace("\u200c", "").replace("\u200d", "")]
    for text in typed:
        found = operator.run("keys", "list", "--search", text, "--output", "tsv").out
        assert found.count(f"\t{name}\t") >= 3, text
        assert operator.run("find", text).out.count(f"\t{name}\n") >= 3
    for text in forms:  # the import has created another customer with this name
        owned = operator.run("keys", "list", "--customer", text, "--json")
        assert (owned.code, f"{tag} (customer, active)" in owned.err) == (2, True)
    rename = f"UPDATE customer SET name = 'other' WHERE id = '{tag}'"  # noqa: S608
    database.sql(rename)
    for text in forms:
        owned = operator.run("keys", "list", "--customer", text, "--json")
        assert [key["customer_name"] for key in json.loads(owned.out)] == [name]


@pytest.mark.parametrize("kind", ["joiner at the end", "direction", "filler"])
def test_invisible_name_is_refused_at_every_edge(
    operator: Command, database: Database, kind: str
) -> None:
    name = INVISIBLE[kind]
    assert post(operator, "/v1/keys", {"name": name}).status_code == 400
    assert operator.run("keys", "create", "--name", name).code == 2
    importer = imported(operator, database, name=name)
    assert importer.run("import", "api_keys.json").code != 0


def private_key(folder: Path) -> str:
    path = folder / "id"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        return "-----BEGIN KEY-----\nMC4CAQAwBQYDK2Vw\n-----END KEY-----\n"
    return path.read_text()


CONTENTS = {
    "private key": None,
    "lines of Windows": "a\r\nb\r\n",
    "white space": " \ta\n \n",
    "byte order mark": "\ufeffa\nb",
    "invisible": "a\u202eb\u200d\x1b\x00\n.\n",
    "decomposed": "e\u0301\né\n",
    "empty lines": "\n\na\n\n",
}


@pytest.mark.parametrize("options", [(), ("--end-to-end",)])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_content_is_returned_as_written(
    sender: Command,
    recipient: Command,
    content: str | None,
    options: tuple[str, ...],
    tmp_path: Path,
) -> None:
    text = private_key(tmp_path) if content is None else content
    if "\0" in text and not options:
        text = text.replace("\0", "")
    by_input = sender.run("secrets", "create", *options, stdin=text)
    assert recipient.run("secrets", "open", stdin=by_input.out).out == text
    (sender.folder / "content").write_bytes(text.encode())
    by_file = sender.run("secrets", "create", "--file", "content")
    opened = json.loads(recipient.run("secrets", "open", "--json", stdin=by_file.out).out)
    assert base64.b64decode(opened[0]["content_base64"]) == text.encode()
    by_api = post(sender, "/v1/secrets", {"text": text.replace("\0", "")}).json()["links"][0]["url"]
    assert recipient.run("secrets", "open", stdin=by_api).out == text.replace("\0", "")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_single_line_loses_its_line_end(sender: Command, recipient: Command, end: str) -> None:
    link = sender.run("secrets", "create", stdin=f" pässword {end}").out
    assert recipient.run("secrets", "open", stdin=link).out == " pässword "


def test_passphrase_opens_on_another_keyboard(sender: Command, recipient: Command) -> None:
    composed, decomposed = (unicodedata.normalize(form, " Größe é ") for form in ("NFC", "NFD"))
    (sender.folder / "p").write_bytes(b"\xef\xbb\xbf" + decomposed.encode() + b"\r\n")
    by_file = sender.run("secrets", "create", "--passphrase-file", "p", stdin="a").out.strip()
    body = {"text": "a", "passphrase": composed}
    by_api = post(sender, "/v1/secrets", body).json()["links"][0]["url"]
    for link, passphrase in ((by_file, composed), (by_api, decomposed)):
        (recipient.folder / "p").write_text(passphrase + "\n", "utf-8")
        opened = recipient.run("secrets", "open", "--passphrase-file", "p", stdin=link)
        assert opened.out == "a", opened.err
