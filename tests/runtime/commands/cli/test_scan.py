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


def git(folder: Path, *command: str, check: bool = True) -> None:
    if reason := requires.missing("git"):
        pytest.skip(reason)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=check, capture_output=True)


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


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository in which a Git command would run other commands, each of which creates a file
    `ran...` in tmp_path: a sparse index whose missing tree would be fetched, a monitor of the file
    system, hooks and a filter."""
    folder = tmp_path / "hostile"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_text("text")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    git(folder, "sparse-checkout", "set", "--cone", "--sparse-index", "absent")
    (folder / "b").write_text("text")
    tree = subprocess.run(
        ["git", "rev-parse", "HEAD:inner"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    (folder / ".gitattributes").write_text("* filter=hostile diff=hostile\n")
    ran = f"touch {tmp_path}/ran"
    (folder / ".git" / "hooks").mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (folder / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\n{ran}-{hook}\n")
        (folder / ".git" / "hooks" / hook).chmod(0o755)
    with (folder / ".git" / "config").open("a") as config:
        config.write(
            f'[core]\n\trepositoryformatversion = 1\n\tfsmonitor = "{ran}-fsmonitor; '
            f'false"\n\tpager = {ran}-pager\n'
            f'[extensions]\n\tpartialClone = origin\n[filter "hostile"]\n\tclean = '
            f"{ran}-clean\n\tprocess = {ran}-process\n"
            f'[remote "origin"]\n\tpromisor = true\n\turl = {folder}\n\tuploadpack = '
            f'"{ran}-uploadpack; false"\n'
        )
    return folder


def test_nothing_of_a_scanned_repository_is_run(tmp_path: Path, hostile: Path) -> None:
    """The check that a Git command would run something comes last."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-git\n")
    (fake / "git").chmod(0o755)
    (hostile / "token").write_text(token())
    path = f"{fake}{os.pathsep}{os.environ['PATH']}"
    for arguments, cwd in ((["."], hostile), (["hostile"], tmp_path), (["b", "token"], hostile)):
        done = scan(*arguments, cwd=cwd, path=path)
        assert (done.returncode, done.stdout.count(b"\n")) == (1, 1), done.stderr
    assert list(tmp_path.glob("ran*")) == []
    git(hostile, "-c", "core.fsmonitor=false", "ls-files", check=False)
    assert list(tmp_path.glob("ran*")) != []


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


def write_tokens(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(token())


def test_ignore_files_of_all_folders_apply(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".git" / "info").mkdir(exist_ok=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("*.local\n")
    write_tokens(
        tmp_path,
        "a.log",
        "a.local",
        "build/a",
        "src/a.log",
        "src/keep.log",
        "src/top",
        "src/deep/top",
        "top",
        "kept.local",
    )
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n!kept.local\n")
    (tmp_path / "src" / ".gitignore").write_text("!keep.log\n/top\n")
    assert found(".", cwd=tmp_path) == ["kept.local", "top", "src/keep.log", "src/deep/top"]
    assert found("src", cwd=tmp_path) == ["src/keep.log", "src/deep/top"]
    assert found(".", cwd=tmp_path / "src" / "deep") == ["top"]
    assert found("build", cwd=tmp_path) == ["build/a"]  # an ignored folder that is named is scanned


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_tracked_files_are_scanned_although_they_are_ignored(
    tmp_path: Path, version: str, object_format: str
) -> None:
    git(tmp_path, "init", "-q", f"--object-format={object_format}")
    names = ["build/a", "build/ä b", "build/" + "x" * 200, "build/deep/b", "secret.env"]
    write_tokens(tmp_path, "build/untracked", *names)
    (tmp_path / ".gitignore").write_text("build/\n*.env\n")
    git(tmp_path, "add", "--force", *names)
    git(tmp_path, "update-index", "--index-version", version)
    if version == "3":
        # Stored in the extended flags.
        git(tmp_path, "update-index", "--skip-worktree", "secret.env")
    assert sorted(found(".", cwd=tmp_path)) == sorted(names)
    assert found("build/deep", cwd=tmp_path) == ["build/deep/b"]


def test_linked_working_tree_has_its_own_index(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "main")
    git(tmp_path / "main", "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path / "main", "worktree", "add", "-q", "../linked")
    write_tokens(tmp_path / "linked", "ignored", "tracked")
    (tmp_path / "linked" / ".gitignore").write_text("*ed\n")
    git(tmp_path / "linked", "add", "--force", "tracked")
    assert found(".", cwd=tmp_path / "linked") == ["tracked"]


@pytest.mark.parametrize("index", ["truncated", "split", "nonsense", "named pipe"])
def test_ignored_files_are_scanned_if_the_index_cannot_be_read(tmp_path: Path, index: str) -> None:
    git(tmp_path, "init", "-q")
    write_tokens(tmp_path, "ignored")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", "--force", "ignored")
    file = tmp_path / ".git" / "index"
    if index == "truncated":
        file.write_bytes(file.read_bytes()[:80])
    elif index == "split":
        git(tmp_path, "update-index", "--split-index")
    else:
        file.unlink()
        file.write_text(index) if index == "nonsense" else os.mkfifo(file)
    assert found(".", cwd=tmp_path) == ["ignored"]


def test_only_regular_files_of_a_folder_are_read(tmp_path: Path) -> None:
    """Names in an index and symbolic links do not lead out of the folder."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    write_tokens(outside, "a")
    folder.mkdir()
    git(folder, "init", "-q")
    write_tokens(folder, "link/a", "other")
    git(folder, "add", ".")
    (folder / "link" / "a").unlink()
    (folder / "link").rmdir()
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (folder / ".gitignore").symlink_to("pipe")
    (folder / "device").symlink_to("/dev/zero")
    assert found(".", cwd=folder) == ["other"]
    index = folder / ".git" / "index"
    index.write_bytes(index.read_bytes().replace(b"link/a", b"../o/a"))
    write_tokens(tmp_path, "o/a")
    assert found(".", cwd=folder) == ["other"]


def test_pattern_with_many_wildcards_ignores_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write_tokens(tmp_path, "a" * 200)
    (tmp_path / ".gitignore").write_text("*a" * 30 + "b\n" + "*a" * 5 + "*\n")
    assert scan(".", cwd=tmp_path).returncode == 1


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
    assert scan("--exclude", "docs/sharing-vectors.json", ".", cwd=ROOT).returncode == 0
