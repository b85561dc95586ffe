"""`gatehouse scan`."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from gatehouse.commands.cli import command_line
from gatehouse.commands.cli.scan import _REMEDIES, FILE_BYTES_MAX
from gatehouse.core.tokens.token import checksum

from tests import processes, requires
from tests.runtime.commands.cli.conftest import Command, leaf_commands
from tests.runtime.tokens import unknown_token

ROOT = Path(__file__).parents[4]


def token(prefix: str = "gtk") -> str:
    return unknown_token(prefix, "live").text


def write_tokens(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(token())


def test_key_is_reported_with_location_and_without_secret(bare: Command, tmp_path: Path) -> None:
    key = token()
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "config.yml").write_text(f"one\nkey: {key}\n")
    done = bare.run("scan", ".")
    assert (done.code, done.out) == (1, f"a b/config.yml:2: {key[:21]}...\n")
    assert key not in done.out + done.err
    assert f"revoke {key[9:21]}" in done.err


@pytest.mark.bound("cli.scan:MATCHES_MAX")
def test_search_ends_after_many_tokens(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"{token()}\n" * 10_001)
    done = bare.run("scan", "a")
    assert done.out.count("\n") == 10_000
    assert done.err.splitlines()[1] == "The files may contain more tokens"


@pytest.mark.bound("cli.scan:FILE_BYTES_MAX")
@pytest.mark.parametrize(("bytes_more", "code"), [(0, 1), (1, 2)])
def test_standard_input_is_scanned(bare: Command, bytes_more: int, code: int) -> None:
    done = bare.run("scan", "-", stdin=token().ljust(FILE_BYTES_MAX + bytes_more))
    assert (done.code, done.out.split(":")[0]) == (code, "(stdin)" if code == 1 else "")


def test_matches_are_printed_as_json(bare: Command, tmp_path: Path) -> None:
    key = token("acme_sk")
    (tmp_path / key).write_text(key)  # a file can be named after a token
    key_id = key.rpartition("_")[2][:12]
    public = f"acme_sk_live_{key_id}..."
    match = {"file": public, "line": 1, "kind": "API key", "key_id": key_id, "token": public}
    assert json.loads(bare.run("scan", "--json", ".").out) == [match]


def test_excluded_and_large_files_are_skipped(bare: Command, tmp_path: Path) -> None:
    write_tokens(tmp_path, "fixtures.json")
    (tmp_path / "huge").write_bytes(token().encode() + b"\n" * (10 * 1024 * 1024))
    done = bare.run("scan", "--exclude", "*.json", ".")
    assert (done.code, done.err) == (0, "skipped huge: larger than 10 MiB\n")


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-16-be"])
def test_binary_and_utf_16_files_are_scanned(bare: Command, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes(b"\0\0" + f"key: {token()}".encode(encoding))
    assert bare.run("scan", ".").code == 1


def test_bootstrap_token_is_found(bare: Command, tmp_path: Path) -> None:
    head = "gtk_admin_" + "a" * 43
    (tmp_path / "admin.env").write_text(f"TOKEN={head}{checksum(head)}\n")
    done = bare.run("scan", "admin.env")
    assert (done.code, done.out) == (1, "admin.env:1: gtk_admin_...\n")
    assert "rotate its secret" in done.err


def test_nothing_of_a_scanned_repository_is_run(bare: Command, tmp_path: Path) -> None:
    ran, programs, folder = tmp_path / "ran", tmp_path / "bin", tmp_path / "repository"
    write_tokens(folder, ".git/config", "token")
    processes.executable(programs / "git", f"#!/bin/sh\ntouch {ran}\n")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = replace(bare, folder=folder).run("scan", ".", PATH=path)
    assert (done.code, done.out.count("\n")) == (1, 1), done.err
    assert not ran.exists()


def test_control_characters_of_a_file_name_are_not_printed(bare: Command, tmp_path: Path) -> None:
    write_tokens(tmp_path, "a\x1b\x9b")
    assert bare.run("scan", ".").out.startswith(
        "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}:1"
    )
    assert "a\\u001b\\u009b" in bare.run("scan", "--json", ".").out


def test_only_regular_files_of_a_folder_are_read(bare: Command, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    write_tokens(outside, "a")
    write_tokens(folder, "deep/b", "other")
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "a")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    inside = replace(bare, folder=folder)
    lines = inside.run("scan", ".").out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["other", "deep/b"]
    done = inside.run("scan", "link", "file", "deep/b", "absent", "other")
    assert (done.code, [line.split(":")[0] for line in done.out.splitlines()]) == (
        2,
        ["file", "deep/b"],
    )
    assert "skipped link: a symbolic link to a directory\n" in done.err
    assert inside.run("scan", "link").code == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "absent cannot be read: No such file or directory"),
        ("pipe", "pipe is not a regular file"),
    ],
)
def test_usage_error_is_one_line_with_exit_code_2(
    bare: Command, tmp_path: Path, path: str, message: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = bare.run("scan", path)
    assert (done.code, done.err) == (2, f"gatehouse: {message}\n")


@pytest.mark.parametrize("names", [["--exclude=*", "a"], ["--help", "a"], ["-"]])
def test_pre_commit_hook_scans_files_with_any_name(
    bare: Command, tmp_path: Path, names: list[str]
) -> None:
    [offered] = [
        hook
        for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
        if hook["id"] == "gatehouse-scan"
    ]
    assert offered["entry"] == "gatehouse scan"
    own = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    used = [(hook["entry"], hook["args"]) for hook in own if "args" in hook]
    assert used == [(".venv/bin/gatehouse scan", offered["args"])]
    write_tokens(tmp_path, *names)
    done = bare.run("scan", *offered["args"], *names)
    assert (done.code, done.out.count("\n")) == (1, len(names)), done.err


def test_repository_contains_no_key(bare: Command) -> None:
    if reason := requires.missing("git"):
        pytest.skip(reason)
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = processes.run(git, cwd=ROOT, check=True).stdout
    paths = [name for name in names.split("\0") if (ROOT / name).is_file()]
    assert len(paths) > 1000
    scan = replace(bare, folder=ROOT).run("scan", "--exclude", "docs/sharing-vectors.json", *paths)
    assert (scan.code, scan.out, scan.err) == (0, "", "")


def test_remedies_name_commands() -> None:
    commands = {" ".join(words) for words, _ in leaf_commands(command_line(""))}
    named = [name for text in _REMEDIES.values() for name in re.findall("`gatehouse (.+?)`", text)]
    assert named
    assert set(named) <= commands
