"""`make api-keys`: lists and changes the keys of a console, which ENV= selects by its profile."""

import os
from subprocess import CompletedProcess

import pytest

from release.pulumi.stack import ROOT
from tests import processes
from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, key_id


def make(operator: Command, *words: str, **variables: str) -> CompletedProcess[str]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(operator.folder), **variables}
    return processes.run(["make", "api-keys", *words], cwd=ROOT, env=environment)


def test_keys_are_managed(operator: Command, console_url: str) -> None:
    profiles = operator.folder / "gatehouse" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text(f'[prod]\nconsole = "{console_url}"\ntoken = "{BOOTSTRAP}"\n')
    profiles.chmod(0o600)
    first = key_id(make(operator, "ENV=prod", "CREATE=my app").stdout.splitlines()[-1])
    second = key_id(make(operator, "ENV=prod", f"ROTATE={first}").stdout.splitlines()[-1])
    listed = make(operator, **operator.variables, GATEHOUSE_PROFILE="other").stdout
    assert (listed.count("my app"), first in listed, second in listed) == (2, True, True)
    revoked = make(operator, "ENV=prod", f"REVOKE={first}")
    assert revoked.stdout.startswith(f"Revoked {first}"), revoked.stderr
    assert [operator.show_key(id)["state"] for id in (first, second)] == ["revoked", "active"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ROTATE=a", "REVOKE=b"], "use only one of CREATE=, ROTATE= and REVOKE="),
        (["ENV=prd"], "profiles.toml: No such file or directory"),
        (["REVOKE=gtk_test_0123456789ab"], "no key has this ID, name or tag"),
    ],
)
def test_input_is_checked(operator: Command, words: list[str], message: str) -> None:
    variables = {} if "ENV=prd" in words else operator.variables
    result = make(operator, *words, **variables)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert message in (lines[0] if lines else result.stderr)
    assert (result.returncode, "0123456789ab" in result.stderr) == (2, False)
