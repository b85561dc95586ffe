"""`gatehouse scan`: files, directories, standard input, Git, staged changes, and the pre-commit hook."""

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
from gatehouse.crypto.http_signatures import secret_text
from gatehouse.crypto.token import build, checksum
from gatehouse.crypto.token_scanner import CORE_PREFIX, SESSION_PREFIX
from gatehouse.keys.models import KeyEnvironment
from gatehouse.notifications.models import webhook_secret_text
from gatehouse.sharing.link_token import LinkToken, SubmissionToken

ROOT = Path(__file__).parents[3]
GATEHOUSE = Path(sys.executable).with_name("gatehouse")


def token(prefix: str = "gtk") -> str:
    return build(prefix, KeyEnvironment.LIVE, secrets.token_bytes(12), secrets.token_bytes(32)).text


def scan(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([GATEHOUSE, "scan", *arguments], cwd=cwd, input=stdin, capture_output=True, check=False)


def git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


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
    "5tRw0aB9xK2m7HqYc1dZ8e#": LinkToken.create("abcdef", "5tRw0aB9xK2m7HqYc1dZ8e", secrets.token_bytes).url("https://a.test"),
    "2mKq8ZrT4vB6nX0sWc9yEd#": SubmissionToken.create("2mKq8ZrT4vB6nX0sWc9yEd", secrets.token_bytes).url("https://a.test"),
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


def test_configuration_of_a_scanned_repository_runs_no_command(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("text")
    git(tmp_path, "add", "a")
    with (tmp_path / ".git" / "config").open("a") as config:
        config.write('[core]\n\tfsmonitor = "touch ran; false"\n')
    for arguments in (["."], ["--staged"]):
        assert scan(*arguments, cwd=tmp_path).returncode == 0
        assert not (tmp_path / "ran").exists()


def test_named_pipe_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = scan("pipe", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, b"gatehouse: pipe is not a regular file\n")


def test_control_characters_of_a_file_name_are_not_printed(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2J").write_text(token())
    assert scan(".", cwd=tmp_path).stdout.startswith("a\N{REPLACEMENT CHARACTER}[2J:1: ".encode())


def test_ignored_files_are_skipped_and_untracked_ones_scanned(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("ignored", "untracked"):
        (tmp_path / name).write_text(token())
    done = scan(".", cwd=tmp_path)
    assert done.stdout.decode().startswith("untracked:1: ")
    assert done.stdout.count(b"\n") == 1
    assert scan("ignored", cwd=tmp_path).returncode == 1


def test_staged_content_is_scanned_not_the_working_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    named = tmp_path / "sub" / "ä b"
    named.write_text(token())
    assert scan("--staged", cwd=tmp_path).returncode == 0
    git(tmp_path, "add", ".")
    named.write_text("harmless")
    for folder in (tmp_path, tmp_path / "sub"):
        done = scan("--staged", cwd=folder)
        assert (done.returncode, done.stdout.decode().split(":")[0]) == (1, "sub/ä b")
    git(tmp_path, "commit", "-qm", "oh no")
    assert scan("--staged", cwd=tmp_path).returncode == 0


def test_circular_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a").write_text(token())
    assert scan(".", cwd=tmp_path).stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "use either paths (files, directories, or - for standard input) or --staged"),
        (("a", "--staged"), "use either paths (files, directories, or - for standard input) or --staged"),
        (("absent",), "absent cannot be read: No such file or directory"),
        (("--staged",), "--staged requires a Git repository"),
    ],
)
def test_usage_error_is_one_line_with_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    done = scan(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.decode()) == (2, f"gatehouse: {text}\n")


@pytest.mark.requirement("CG-25")
def test_pre_commit_hook_is_published_and_used() -> None:
    offered = {hook["id"]: hook["entry"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert offered["gatehouse-scan"] == "gatehouse scan"
    own = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert ".venv/bin/gatehouse scan" in [hook["entry"] for hook in own]


@pytest.mark.requirement("CG-14")
def test_repository_contains_no_key() -> None:
    assert scan("--exclude", "docs/sharing-vectors.json", ".", cwd=ROOT).returncode == 0
