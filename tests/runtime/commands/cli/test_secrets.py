"""`gatehouse secrets` with a running console and sharing service."""

import errno
import io
import json
import os
import re
import resource
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import httpx
import pytest
import uvicorn
from gatehouse.features.secrets.models import ID_CHARS
from gatehouse.features.secrets.schemas import CreatedSecret, LinkPreview
from gatehouse.platform.settings import SharingSettings
from gatehouse.platform.web.examples import example
from gatehouse.services.sharing import app as sharing_app
from gatehouse_client._sync.client import Client

from sandbox import ports
from tests.runtime.commands.cli.conftest import Command, Result, running_console
from tests.runtime.conftest import Database
from tests.runtime.features.secrets.conftest import aws
from tests.runtime.features.secrets.services import BUCKET, REGION, TABLE

__all__ = ["aws"]
TEXT = "correct horse battery staple"


class SharingServer(uvicorn.Server):
    """A server in a thread of this process. `ready` is set when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(None)
        self.ready.set()


@pytest.fixture(scope="module")
def sharing_url(aws: str) -> Iterator[str]:
    settings = SharingSettings(
        environment="dev",
        log_level="error",
        secret_links_table=TABLE,
        secrets_bucket=BUCKET,
        secrets_key=aws,
    )
    app = sharing_app.build(settings)
    port = ports.free_port()
    server = SharingServer(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(60)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module")
def console_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def console_url(
    database: Database, aws: str, sharing_url: str, console_folder: Path
) -> Iterator[str]:
    variables = {
        "GATEHOUSE_SECRET_LINKS_TABLE": TABLE,
        "GATEHOUSE_SECRETS_BUCKET": BUCKET,
        "GATEHOUSE_SECRETS_KEY": aws,
        "GATEHOUSE_SHARING_URL": sharing_url,
    }
    with running_console(database, console_folder, **variables) as url:
        yield url


@pytest.fixture
def sender(operator: Command) -> Command:
    scopes = [
        option
        for scope in ("create", "read", "revoke")
        for option in ("--scope", f"secrets:{scope}")
    ]
    token = operator.run("keys", "create", "--name", "sender", *scopes).out.strip()
    return replace(operator, variables={**operator.variables, "GATEHOUSE_ADMIN_TOKEN": token})


@pytest.fixture
def recipient(tmp_path: Path) -> Command:
    return Command(tmp_path, {})


def test_sender_is_shown_in_one_line(recipient: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({**example(LinkPreview), "sender": "a\ngatehouse: b"})
    monkeypatch.setattr(Client, "_send", lambda *_, **__: httpx.Response(200, text=answer))
    shown = recipient.run("secrets", "open", stdin="https://sharing.example.com/s/a#b")
    assert "From a\ufffdgatehouse: b (not verified), created" in shown.err


def test_files_are_written_once_and_private(sender: Command, recipient: Command) -> None:
    source = sender.folder / "source" / ".env"
    source.parent.mkdir()
    source.write_bytes(bytes(range(256)))
    large = source.with_name("large.bin")
    large.write_bytes(b"x" * 1_500_000)
    link = sender.run(
        "secrets", "create", "--file", str(source), "--file", str(large), "--uses", "2"
    ).out.strip()
    for names in ((".env", "large.bin"), (".env-1", "large-1.bin")):
        opened = recipient.run("secrets", "open", stdin=link)
        assert (opened.code, opened.out) == (0, "")
        assert [(recipient.folder / name).read_bytes() for name in names] == [
            source.read_bytes(),
            large.read_bytes(),
        ]
        assert {stat.S_IMODE((recipient.folder / name).stat().st_mode) for name in names} == {0o600}


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def repeated(recipient: Command, link: str, failed: Result, *options: str) -> Result:
    [claim] = re.findall("[0-9a-f]{32}", failed.err)
    assert recipient.run("secrets", "open", stdin=link).code == 1
    return recipient.run("secrets", "open", "--claim", *options, stdin=f"{link}\n{claim}\n")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_use_is_not_lost_if_the_content_cannot_be_written(
    sender: Command, recipient: Command, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, password = sender.folder / "source" / "a", sender.folder / "password"
    source.parent.mkdir()
    source.write_bytes(b"x" * 2000)
    password.write_text("a long passphrase")
    options += ("--passphrase-file", str(password))
    link = sender.run("secrets", "create", "--file", str(source), *options[-2:]).out.strip()
    size = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as context:
        context.setattr(io, "StringIO", Full)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, size[1]))
        failed = recipient.run("secrets", "open", *options, stdin=link)
        resource.setrlimit(resource.RLIMIT_FSIZE, size)
    assert (failed.code, (recipient.folder / "a").exists()) == (1, False)
    assert "cannot be written" in failed.err
    again = repeated(recipient, link, failed, *options)
    assert (again.code, bool(again.out)) == (0, "--json" in options)
    assert (recipient.folder / "a").exists() == ("--json" not in options)


@pytest.mark.bound("secrets.schemas:_SAVED_NAME_BYTES_MAX")
def test_submitted_content_reaches_no_terminal_and_no_hidden_file_at_home(
    sender: Command, recipient: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, retrieval = sender.run("secrets", "request", "--purpose", "p").out.split()[1::2]
    files = [("file", (name, b"x")) for name in (".zshenv", 255 * "\u754c")]
    form = {"link": submission, "text": "a\x1b[2J\n\tb\x9b"}
    url = submission.partition("/r/")[0] + "/v1/requests/submit"
    assert httpx.post(url, data=form, files=files, timeout=60).status_code == 200
    terminal = type("Terminal", (io.StringIO,), {"isatty": lambda _: True})
    monkeypatch.setattr(io, "StringIO", terminal)
    opened = recipient.run("secrets", "open", stdin=retrieval, HOME=str(recipient.folder))
    assert opened.out == "a\\x1b[2J\n\tb\\x9b\n"
    assert {file.name for file in recipient.folder.iterdir()} == {"zshenv", 80 * "\u754c"}


def test_end_to_end_key_is_not_added_to_another_url(
    sender: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps(example(CreatedSecret)).replace("#", "?")
    monkeypatch.setattr(Client, "_send", lambda *_, **__: httpx.Response(200, text=answer))
    created = sender.run("secrets", "create", "--end-to-end", stdin=TEXT)
    assert (created.code, created.out) == (1, "")


def test_end_to_end_key_is_never_sent(sender: Command, recipient: Command) -> None:
    link = sender.run("secrets", "create", "--end-to-end", "--uses", "2", stdin=TEXT).out.strip()
    base, _, key = link.rpartition(".")
    assert (recipient.run("secrets", "open", stdin=link).out, len(key)) == (TEXT, 43)
    incomplete = recipient.run("secrets", "open", stdin=base)
    assert (incomplete.code, incomplete.out) == (2, "")
    wrong = recipient.run("secrets", "open", stdin=f"{base}.{'A' * 43}")
    assert (wrong.code, wrong.out, "cannot be decrypted" in wrong.err) == (2, "", True)
    assert repeated(recipient, link, wrong).out == TEXT
    plain = sender.run("secrets", "create", stdin="replaced by the server").out.strip()
    replaced = recipient.run("secrets", "open", stdin=f"{plain}.{key}")
    assert (replaced.code, replaced.out, "is not encrypted" in replaced.err) == (2, "", True)


def test_no_canary_of_a_command_is_in_messages_logs_or_tables(
    sender: Command, recipient: Command, database: Database, console_folder: Path
) -> None:
    canaries = {
        name: f"canary-{name}-{secrets.token_hex(4)}"
        for name in ("text", "passphrase", "wrong", "name", "content", "new")
    }
    files = {name: sender.folder / f"{name}.txt" for name in ("passphrase", "wrong")}
    for name, file in files.items():
        file.write_text(canaries[name])
    attached = sender.folder / canaries["name"]
    attached.write_text(canaries["content"])
    option = ("--passphrase-file", str(files["passphrase"]))
    created = sender.run("secrets", "create", "--uses", "2", *option, stdin=canaries["text"])
    link = created.out.strip()
    secret_id = link.partition("/s/")[2][:ID_CHARS]
    messages = [created.err, sender.run("secrets", "create", "--file", str(attached)).err]
    for arguments in (("list",), ("show", secret_id), ("receipt", secret_id)):
        shown = sender.run("secrets", *arguments, "--json")
        messages += [shown.out, shown.err]
    denied = recipient.run("secrets", "open", "--passphrase-file", str(files["wrong"]), stdin=link)
    opened = recipient.run("secrets", "open", *option, stdin=link)
    assert (denied.code, opened.code, opened.out) == (1, 0, canaries["text"])
    messages += [denied.out, denied.err, opened.err]
    messages.append(sender.run("secrets", "replace", secret_id, stdin=canaries["new"]).err)
    assert recipient.run("secrets", "open", *option, stdin=link).out == canaries["new"]
    requested = sender.run("secrets", "request", "--purpose", "password", "--requester", "Grace")
    submission = requested.out.split()[1]
    fields = {"link": submission, "submission": secrets.token_hex(16)}
    submitted = httpx.post(
        f"{submission.partition('/r/')[0]}/v1/requests/submit",
        data=fields,
        files={"file": attached.open("rb")},
        timeout=60,
    )
    assert submitted.status_code == 200, submitted.text
    messages += [requested.err, submitted.text]
    commands: list[tuple[str, ...]] = [
        ("update", secret_id, "--uses", "3"),
        ("update", secret_id, "--expires-at", "2000-01-01T00:00:00Z"),
        ("list",),
        ("show", secret_id),
        ("receipt", secret_id),
        ("show", submission.partition("/r/")[2].partition("#")[0]),
        ("restore-version", secret_id, "1"),
        ("revoke", secret_id),
        ("revoke", link),
        ("show", submission),
        ("update", canaries["text"], "--uses", "3"),
    ]
    for command in commands:
        ran = sender.run("secrets", *command)
        messages += [ran.out, ran.err.replace(canaries["text"], "")]
    stored = json.dumps(
        boto3.client("dynamodb", region_name=REGION).scan(TableName=TABLE)["Items"], default=str
    )
    assert secret_id in stored
    searched = {
        "messages": "\n".join(messages),
        "log": (console_folder / "log").read_text(),
        "rows": database.dump(),
        "items": stored,
    }
    for canary in (*canaries.values(), link.partition("#")[2], submission.partition("#")[2]):
        assert [output for output, text in searched.items() if canary in text] == []


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("create",), ""),
        (("create", "--file", "missing"), ""),
        (("create", "--end-to-end", "--file", "missing"), ""),
        (("show", "https://sharing.example.com/s/x#secret"), ""),
        (("revoke", "https://sharing.example.com/r/x#secret"), ""),
        (("update", "5tRw0aB9xK2m7HqYc1dZ8e"), ""),
        (("open",), ""),
        (("open",), "5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU#secret"),
        (("open",), "http://sharing.example.com/s/x#secret"),
        (("open", "--output", "missing"), "http://127.0.0.1:1/s/x#secret"),
    ],
)
def test_usage_errors_do_not_repeat_a_link(
    sender: Command, arguments: tuple[str, ...], stdin: str
) -> None:
    result = sender.run("secrets", *arguments, stdin=stdin)
    assert (result.code, result.out, "#secret" in result.err) == (2, "", False)
