"""`gatehouse scan`: files, directories, standard input, repositories, and the pre-commit hook."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatehouse.core.http_signatures import secret_text
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.token import build, checksum
from gatehouse.core.token_scanner import CORE_PREFIX, SESSION_PREFIX
from gatehouse.core.webhook_signatures import webhook_secret_text
from gatehouse.features.sharing.link_token import LinkToken, SubmissionToken

from tests import requires

ROOT = Path(__file__).parents[4]
GATEHOUSE = Path(sys.executable).with_name("gatehouse")


def token(prefix: str = "gtk") -> str:
    return build(prefix, KeyEnvironment.LIVE, secrets.token_bytes(12), secrets.token_bytes(32)).text


def scan(
    *arguments: str, cwd: Path, stdin: bytes = b"", path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [GATEHOUSE, "scan", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        env=env,
    )


def found(*arguments: str, cwd: Path) -> list[str]:
    """The files with tokens."""
    return [line.split(":")[0] for line in scan(*arguments, cwd=cwd).stdout.decode().splitlines()]


@pytest.mark.requirement("CG-14")
def test_key_is_reported_with_location_and_without_secret(tmp_path: Path) -> None:
    key = token()
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "config.yml").write_text(f"one\nkey: {key}\n")
    done = scan(".", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.decode() == f"a b/config.yml:2: {key[:21]}...\n"
    assert key not in (done.stdout + done.stderr).decode()
    assert f"revoke {key[9:21]}" in done.stderr.decode()


def test_no_key_is_silent_success(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("gtk_live_" + "x" * 61)
    done = scan("a", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_standard_input_is_scanned(tmp_path: Path) -> None:
    done = scan("-", cwd=tmp_path, stdin=token().encode())
    assert (done.returncode, done.stdout.split(b":")[0]) == (1, b"(stdin)")


def test_matches_are_printed_as_json(tmp_path: Path) -> None:
    key = token("acme_sk")
    (tmp_path / "a").write_text(key)
    matches: list[dict[str, Any]] = json.loads(scan("--json", "a", cwd=tmp_path).stdout)
    key_id = key.rpartition("_")[2][:12]
    assert matches == [
        {
            "file": "a",
            "line": 1,
            "kind": "API key",
            "prefix": "acme_sk",
            "environment": "live",
            "key_id": key_id,
            "token": f"acme_sk_live_{key_id}...",
        }
    ]


def test_prefix_option_limits_the_matches(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(token("acme_sk"))
    assert scan("--prefix", "gtk", "a", cwd=tmp_path).returncode == 0
    assert scan("--prefix", "gtk", "--prefix", "acme_sk", "a", cwd=tmp_path).returncode == 1


def test_large_file_is_skipped_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(token().encode() + b"\n" * (10 * 1024 * 1024))
    done = scan(".", cwd=tmp_path)
    assert (done.returncode, done.stderr.decode()) == (0, "skipped huge: larger than 10 MiB\n")


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-16-be"])
def test_binary_and_utf_16_files_are_scanned(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes(b"\0\0" + f"key: {token()}".encode(encoding))
    assert scan(".", cwd=tmp_path).returncode == 1


def test_bootstrap_token_is_found(tmp_path: Path) -> None:
    head = "gtk_admin_" + "a" * 43
    (tmp_path / "admin.env").write_text(f"TOKEN={head}{checksum(head)}\n")
    done = scan("admin.env", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"admin.env:1: gtk_admin_...\n")
    assert b"rotate its secret" in done.stderr


#: A token of each kind without a key ID, and the part that is printed.
SECRETS = {
    "gtk_signin_": "gtk_signin_" + secrets.token_urlsafe(32),
    "acme_sk_signin_": "acme_sk_signin_" + secrets.token_urlsafe(32),
    SESSION_PREFIX: SESSION_PREFIX + secrets.token_urlsafe(32),
    CORE_PREFIX: CORE_PREFIX + secrets.token_urlsafe(32),
    "sigkey_": secret_text(secrets.token_bytes(32)),
    "whsec_": webhook_secret_text(secrets.token_bytes(32)),
    "5tRw0aB9xK2m7HqYc1dZ8e#": LinkToken.create(
        "abcdef", "5tRw0aB9xK2m7HqYc1dZ8e", secrets.token_bytes
    ).url("https://a.test"),
    "2mKq8ZrT4vB6nX0sWc9yEd#": SubmissionToken.create(
        "2mKq8ZrT4vB6nX0sWc9yEd", secrets.token_bytes
    ).url("https://a.test"),
}


@pytest.mark.parametrize("shown", SECRETS)
def test_secret_of_each_kind_is_found_and_not_printed(tmp_path: Path, shown: str) -> None:
    secret = SECRETS[shown]
    (tmp_path / "a").write_text(f"value: '{secret}'\n")
    done = scan("a", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (1, f"a:1: {shown}...\n")
    assert secret[-30:] not in (done.stdout + done.stderr).decode()


def test_pattern_finds_tokens_of_imported_keys(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\nkey: acme-0123456789abcdef\n")
    done = scan("--pattern", "acme-[0-9a-f]{16}", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"a:2: matches acme-[0-9a-f]{16}\n")
    assert scan("--pattern", "acme-[", "a", cwd=tmp_path).returncode == 2


def test_excluded_file_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "fixtures.json").write_text(token())
    assert scan("--exclude", "*.json", ".", cwd=tmp_path).returncode == 0


def test_nothing_of_a_scanned_repository_is_run(tmp_path: Path) -> None:
    ran, programs, folder = tmp_path / "ran", tmp_path / "bin", tmp_path / "repository"
    write_tokens(folder, ".git/config", "token")
    programs.mkdir()
    (programs / "git").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (programs / "git").chmod(0o755)
    done = scan(".", cwd=folder, path=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert (done.returncode, done.stdout.count(b"\n")) == (1, 1), done.stderr
    assert not ran.exists()


def test_named_pipe_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = scan("pipe", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, b"gatehouse: pipe is not a regular file\n")


def test_control_characters_of_a_file_name_are_not_printed(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2J").write_text(token())
    assert scan(".", cwd=tmp_path).stdout.startswith("a\N{REPLACEMENT CHARACTER}[2J:1: ".encode())


def write_tokens(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(token())


def test_only_regular_files_of_a_folder_are_read(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    write_tokens(outside, "a")
    write_tokens(folder, "deep/b", "other")
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "a")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    assert found(".", cwd=folder) == ["other", "deep/b"]


def test_circular_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a").write_text(token())
    assert scan(".", cwd=tmp_path).stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("absent",), "absent cannot be read: No such file or directory"),
    ],
)
def test_usage_error_is_one_line_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    done = scan(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.decode()) == (2, f"gatehouse: {text}\n")


@pytest.mark.requirement("CG-25")
def test_pre_commit_hook_is_published_and_used() -> None:
    offered = {
        hook["id"]: hook["entry"]
        for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    }
    assert offered["gatehouse-scan"] == "gatehouse scan"
    own = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert ".venv/bin/gatehouse scan" in [hook["entry"] for hook in own]


@pytest.mark.requirement("CG-14")
def test_repository_contains_no_key() -> None:
    """The command of docs/guides/leaks.md."""
    if reason := requires.missing("git"):
        pytest.skip(reason)
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [name for name in names.split("\0") if (ROOT / name).is_file()]
    assert len(paths) > 1000
    assert scan("--exclude", "docs/sharing-vectors.json", *paths, cwd=ROOT).returncode == 0
