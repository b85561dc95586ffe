"""Attacks that run on this machine, and therefore beside a sandbox only."""

import asyncio
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.attack.attacks import Attack, Outcome, Target

#: Settings with which Git runs a program.
_GIT_SETTINGS = (
    "core.fsmonitor",
    "core.pager",
    "core.editor",
    "core.sshCommand",
    "core.gitProxy",
    "filter.a.clean",
    "filter.a.smudge",
    "filter.a.process",
    "diff.a.textconv",
    "diff.external",
    "pager.ls-files",
    "credential.helper",
    "remote.origin.uploadpack",
)


async def hostile_repositories(target: Target, outcome: Outcome) -> None:
    """`gatehouse scan` of a folder runs no program, neither one of the folder nor Git, and follows
    no symbolic link.
    """
    with TemporaryDirectory(prefix="gatehouse-") as name:
        folder = Path(name)
        repository, ran = folder / "repository", folder / "ran"
        program, token = _hostile_repository(repository, ran)
        (folder / "bin").mkdir()
        for command in ("git", "less", "ssh", "sh", "bash"):
            (folder / "bin" / command).write_bytes(program.read_bytes())
            (folder / "bin" / command).chmod(0o755)
        (folder / "outside").write_text(token)
        (repository / "link").symlink_to(folder / "outside")
        (repository / "links").symlink_to(folder)
        environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        result = await asyncio.to_thread(
            subprocess.run,
            [*target.scan, str(repository)],
            env=environment,
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        outcome.check(not ran.exists(), "gatehouse scan runs a program")
        outcome.check(
            result.returncode == 0, f"gatehouse scan follows a link, or fails: {result.returncode}"
        )


def _hostile_repository(repository: Path, ran: Path) -> tuple[Path, str]:
    """Create a repository for which Git runs a program. Returns the program and a token."""
    git = repository / ".git"
    for folder in ("hooks", "objects", "refs/heads"):
        (git / folder).mkdir(parents=True)
    program = git / "hooks" / "post-index-change"
    program.write_text(f"#!{Path('/bin/sh').resolve()}\n: > '{ran}'\n")
    program.chmod(0o755)
    (git / "hooks" / "post-checkout").write_bytes(program.read_bytes())
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    settings = [f'[remote "origin"]\n\turl = {repository}\n\tpromisor = true\n']
    settings.append("[extensions]\n\tpartialClone = origin\n")
    for setting in _GIT_SETTINGS:
        *section, name = setting.split(".")
        heading = section[0] if len(section) == 1 else f'{section[0]} "{section[1]}"'
        settings.append(f"[{heading}]\n\t{name} = {program}\n")
    (git / "config").write_text("".join(settings))
    (repository / ".gitattributes").write_text("* filter=a diff=a\n")
    (repository / "file").write_text("text\n")
    return program, "gtk_admin_" + "0" * 48


SANDBOX_ATTACKS: tuple[Attack, ...] = (hostile_repositories,)
