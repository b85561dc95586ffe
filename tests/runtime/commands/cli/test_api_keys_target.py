"""`make api-keys`: the keys of a local environment, and the checks before those of a stack."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from release import api_keys
from release.stack_file import ROOT, read_stack
from tests import processes
from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, key_id

pytestmark = pytest.mark.requirement("CG-24")
STACK_FILE = 'config:\n  gatehouse:settings: {domain: DOMAIN, account: "1"}\n'
FOREIGN = {"GATEHOUSE_CONSOLE_URL": "https://console.test", "GATEHOUSE_ADMIN_TOKEN": "t"}

Make = Callable[..., CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs the target for the project in `tmp_path`, with a console of another deployment in the
    environment."""
    python = processes.executable(
        tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} "$@" --root {tmp_path}\n'
    )
    for stack, domain in (("dev", "gatehouse.example.com"), ("prod", "gatehouse.acme.dev")):
        (tmp_path / f"Pulumi.{stack}.yaml").write_text(STACK_FILE.replace("DOMAIN", domain))

    def run(*words: str, **variables: str) -> CompletedProcess[str]:
        command = ["make", f"PY={python}", "api-keys", *words]
        return processes.run(command, cwd=ROOT, env={**os.environ, **FOREIGN, **variables})

    return run


def test_keys_of_the_local_environment(make: Make, operator: Command, console_url: str) -> None:
    folder = operator.folder / ".gatehouse"
    folder.mkdir()
    (folder / "up.json").write_text(json.dumps({"console": console_url, "admin_token": BOOTSTRAP}))
    first = key_id(make("CREATE=my app", NAME="a host name, as in WSL").stdout.splitlines()[-1])
    second = key_id(make(f"ROTATE={first}").stdout.splitlines()[-1])
    listed = make().stdout
    assert (listed.count("my app"), first in listed, second in listed) == (2, True, True)
    assert make(f"REVOKE={first}").stdout.startswith(f"Revoked {first}")
    token = make("REVOKE=gtk_test_0123456789ab").stderr
    assert "ID must be a key ID" in token
    assert "0123456789ab" not in token
    assert [operator.show_key(id)["state"] for id in (first, second)] == ["revoked", "active"]


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["ROTATE=a", "REVOKE=b"], {}, "use only one of CREATE=, ROTATE= and REVOKE="),
        ([], {}, "the sandbox is not running (make up)"),
        (["ENV=prd"], {}, "no stack 'prd'; use one of: ENV=dev, ENV=prod"),
        (["ENV=dev"], {}, "Pulumi.dev.yaml has no domain of your own; set `domain`"),
        (["ENV=prod"], {"GATEHOUSE_ADMIN_TOKEN": ""}, "set GATEHOUSE_ADMIN_TOKEN to an admin"),
        (["ENV=prod", "REVOKE=3fGh82kLmQ0a"], {}, "not confirmed; nothing was changed"),
    ],
)
def test_input_is_checked(
    make: Make, words: list[str], variables: dict[str, str], message: str
) -> None:
    result = make(*words, **variables)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert (result.returncode, len(lines)) == (2, 1)
    assert message in lines[0]


@pytest.mark.usefixtures("make")
def test_token_of_a_stack_is_sent_to_its_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEHOUSE_ADMIN_TOKEN", "t")
    variables = api_keys.variables(read_stack("prod", tmp_path), tmp_path)
    assert variables["GATEHOUSE_CONSOLE_URL"] == "https://console.gatehouse.acme.dev"
