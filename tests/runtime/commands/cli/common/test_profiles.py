"""Profiles: deployments in a file that only its owner can read."""

from pathlib import Path

import pytest

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command

PROFILE = '[test]\nconsole = "{url}"\ntoken = "{token}"\n'


def write(folder: Path, text: str, mode: int = 0o600) -> None:
    path = folder / "gatehouse" / "profiles.toml"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(mode)


def run(command: Command, *options: str) -> tuple[int, str]:
    bare = Command(command.folder, {"XDG_CONFIG_HOME": str(command.folder)})
    result = bare.run("keys", "list", "--profile", "test", *options)
    assert BOOTSTRAP not in result.out + result.err
    return result.code, result.err


def test_profile_selects_a_deployment(operator: Command, console_url: str) -> None:
    write(operator.folder, PROFILE.format(url=console_url, token=BOOTSTRAP))
    assert run(operator)[0] == 0


@pytest.mark.parametrize(
    ("text", "mode", "options", "message"),
    [
        (PROFILE, 0o640, (), "run `chmod 600 "),
        (PROFILE, 0o600, ("--console", "http://127.0.0.1:1"), "cannot be used with --console"),
        (PROFILE.replace("test", "prod"), 0o600, (), "has no profile test. Profiles: prod"),
        ("", 0o600, (), "has no profile test. Profiles: none"),
        ("[test", 0o600, (), "is not valid TOML"),
        ('[test]\nconsole = "x"\n', 0o600, (), "must have `console` and `token`"),
    ],
)
def test_unusable_profile_is_one_line(
    operator: Command, text: str, mode: int, options: tuple[str, ...], message: str
) -> None:
    write(operator.folder, text.format(url="http://127.0.0.1:1", token=BOOTSTRAP), mode)
    code, error = run(operator, *options)
    assert (code, error.count("\n"), message in error) == (2, 1, True), error


def test_missing_file_of_profiles_is_one_line(operator: Command) -> None:
    code, error = run(operator)
    assert (code, "the profiles cannot be read from" in error) == (2, True)
