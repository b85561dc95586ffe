"""A command whose result is shown once is repeated after a lost response. The console creates
nothing twice, and the result is that of the first command.
"""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import httpx
import pytest
from gatehouse.commands import cli

from tests.runtime.commands.cli.conftest import Command, leaf_commands
from tests.runtime.commands.cli.test_secrets import aws, console_folder, console_url, sharing_url
from tests.runtime.conftest import Database
from tests.runtime.features.secrets.services import REGION, TABLE

__all__ = ["aws", "console_folder", "console_url", "sharing_url"]

#: Every command whose result is shown once, with its options.
ONCE: dict[tuple[str, ...], list[tuple[str, ...]]] = {
    ("customers", "portal"): [("{customer}",)],
    ("keys", "create"): [("--name", "a key"), ("--name", "a key", "--link")],
    ("keys", "rotate"): [("{key}",)],
    ("secrets", "create"): [(), ("--end-to-end",), ("--uses", "2")],
    ("secrets", "request"): [("--purpose", "a purpose")],
    ("webhooks", "create"): [("--url", "https://hooks.example.com/a")],
    ("webhooks", "rotate-secret"): [("{webhook}",)],
}


class Proxy:
    """Forwards requests to the console, and closes the connection instead of responding while
    `losing`.
    """

    def __init__(self, console: str) -> None:
        self.losing = True
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                names = ("Authorization", "Content-Type", "Idempotency-Key", "Idempotency-Replay")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                with httpx.Client(base_url=console, trust_env=False, timeout=60) as client:
                    reply = client.post(self.path, content=body, headers=headers)
                if not proxy.losing:
                    self.send_response(reply.status_code)
                    self.send_header("Content-Length", str(len(reply.content)))
                    self.end_headers()
                    self.wfile.write(reply.content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def proxy(console_url: str) -> Iterator[Proxy]:
    proxy = Proxy(console_url)
    thread = threading.Thread(target=proxy.server.serve_forever, daemon=True)
    thread.start()
    yield proxy
    proxy.server.shutdown()
    proxy.server.server_close()
    thread.join()


def created(database: Database) -> tuple[str, int]:
    """The changes in the database and the items of secrets. The audit events of secrets, which
    are delivered later, do not count.
    """
    changes = database.sql(
        "SELECT count(*) FROM audit_event WHERE outcome = 'success' AND target_type <> 'secret'"
    )
    items = boto3.client("dynamodb", region_name=REGION).scan(TableName=TABLE, Select="COUNT")
    return changes, items["Count"]


def test_every_command_that_shows_once_can_be_repeated() -> None:
    repeatable = {
        words
        for words, command in leaf_commands(cli.command_line(""))
        if any("--repeat" in option.opts for option in command.params)
    }
    assert repeatable == ONCE.keys()


@pytest.mark.parametrize(
    ("words", "options"), [(words, options) for words in ONCE for options in ONCE[words]]
)
def test_repeated_command_prints_the_first_result(
    operator: Command,
    database: Database,
    proxy: Proxy,
    words: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    ids = {}
    if options == ("{key}",):
        ids["key"] = operator.create_key()
    if options == ("{customer}",):
        ids["customer"] = "acme"
        operator.run("customers", "create", "--id", "acme")
    if options == ("{webhook}",):
        operator.run("webhooks", "create", "--url", "https://hooks.example.com/b")
        ids["webhook"] = operator.run("webhooks", "list").out.partition("\t")[0]
    arguments = [*words, *(option.format(**ids) for option in options)]
    variables = {"GATEHOUSE_CONSOLE_URL": proxy.url}
    lost = operator.run(*arguments, stdin="a secret", **variables)
    assert (lost.code, lost.out) == (1, "")
    [code] = re.findall(r"--repeat ([\w-]{43}) ", lost.err)
    before = created(database)
    proxy.losing = False
    results = {
        operator.run(*arguments, "--repeat", code, stdin="a secret", **variables).out
        for _ in range(2)
    }
    assert len(results) == 1
    assert results != {""}
    assert created(database) == before
    other = operator.run(*arguments, "--repeat", code[:42], stdin="a secret", **variables)
    assert (other.code, other.out) == (2, "")
