"""Credentials of the command line: trimmed, refused by their name, and in no output."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from gatehouse.commands.cli import secrets
from gatehouse.commands.cli.common import connection
from gatehouse.features.secrets.link_token import LinkToken

from tests.clients.python.test_credentials import ANSWERS, CANARY, MALFORMED, urls
from tests.runtime.commands.cli.common.test_profiles import PROFILE, write
from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, Result

__all__ = ["urls"]
#: What `make up`, an editor or a shell can make of a token.
REFUSED = {**MALFORMED, "empty": " ", "quotes": f"'{CANARY}'", "long": CANARY * 30}


def variable(command: Command, url: str, token: str) -> Result:
    return command.run("keys", "list", "--console", url, GATEHOUSE_ADMIN_TOKEN=token)


def option(command: Command, url: str, token: str) -> Result:
    return command.run("keys", "list", "--console", url, "--token", token)


def standard_input(command: Command, url: str, token: str) -> Result:
    return command.run("keys", "list", "--console", url, "--token", "-", stdin=token)


def profile(command: Command, url: str, token: str) -> Result:
    write(command.folder, PROFILE.format(url=url, token=json.dumps(token)[1:-1]))
    return command.run("keys", "list", "--profile", "test", XDG_CONFIG_HOME=str(command.folder))


def file_of_make_up(command: Command, url: str, token: str) -> Result:
    folder = command.folder / ".gatehouse"
    folder.mkdir()
    (folder / "up.json").write_text(json.dumps({"console": url, "admin_token": token}))
    return command.run("keys", "list")


def agent(command: Command, url: str, token: str) -> Result:
    arguments = ("core", "--gateway", url, "--name", "docs", "--url", "http://127.0.0.1:1")
    return command.run(*arguments, GATEHOUSE_CORE_TOKEN=token)


Source = Callable[[Command, str, str], Result]
SOURCES = (variable, option, standard_input, profile, file_of_make_up)


#: One line is read, a variable has no NUL, and TOML has no surrogate.
IMPOSSIBLE = {
    *((standard_input, kind) for kind in ("line", "surrogate")),
    *((source, "nul") for source in (variable, agent)),
    (profile, "surrogate"),
}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (source, kind)
        for source in (*SOURCES, agent)
        for kind in REFUSED
        if (source, kind) not in IMPOSSIBLE
    ],
)
def test_malformed_token_is_refused_by_its_name(bare: Command, source: Source, kind: str) -> None:
    token = REFUSED[kind]
    result = source(bare, "http://127.0.0.1:1", token)
    assert (result.code, result.err.count("\n"), "oken" in result.err) == (2, 1, True), result.err
    assert CANARY not in result.out + result.err


def test_invalid_proxy_is_not_repeated(bare: Command) -> None:
    proxied = replace(bare, variables={"HTTP_PROXY": f"http://user:{CANARY}@127.0.0.1:x"})
    for source in (variable, agent):
        result = source(proxied, "http://gatehouse.test", "a")
        assert (result.code, "HTTP_PROXY" in result.err) == (2, True)
        assert CANARY not in result.err


@pytest.mark.parametrize("around", ["{}\r\n", "\ufeff{}", " {}\t"])
@pytest.mark.parametrize("source", SOURCES)
def test_white_space_around_a_token_is_removed(
    bare: Command, console_url: str, source: Source, around: str
) -> None:
    result = source(bare, console_url, around.format(BOOTSTRAP))
    assert result.code == 0, result.err


@pytest.mark.parametrize("way", [*ANSWERS, "certificate", "no TLS", "refused"])
def test_no_output_contains_a_canary(
    bare: Command, urls: dict[str, str], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, secrets):
        monkeypatch.setattr(module, "RETRIES", replace(connection.RETRIES, attempts=1))
    url, link = urls[way], LinkToken.create("5tRw0aB9xK2m7HqYc1dZ8eabcdef")
    (bare.folder / "passphrase").write_text(CANARY)
    passphrase = ("--passphrase-file", "passphrase")
    connected = replace(
        bare, variables={"GATEHOUSE_CONSOLE_URL": url, "GATEHOUSE_ADMIN_TOKEN": CANARY}
    )
    results = [
        connected.run("keys", "list"),
        connected.run("keys", "create", "--name", "a"),
        connected.run("find", stdin=CANARY),
        connected.run("secrets", "create", *passphrase, stdin=CANARY),
        bare.run("secrets", "open", *passphrase, stdin=link.url(url)),
    ]
    if way in ("problem 400", "problem 401"):  # the agent repeats other requests
        results.append(agent(bare, url, CANARY))
    assert {result.code for result in results} <= {1, 2}
    for result in results:
        output = result.out + result.err
        assert CANARY not in output
        assert link.secret not in output
