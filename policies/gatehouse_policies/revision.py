"""The program in another Git revision."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pulumi_local.errors import CommandError
from pulumi_local.source_lines import repository_of


@contextmanager
def program_at(revision: str, program: Path) -> Iterator[Path]:
    """The folder of the program in a temporary copy of the repository at a revision. Files that Git
    does not contain are missing in it. The repository and its index do not change. Raises
    CommandError if Git does not have the revision, or the revision does not have the program.
    """
    repository = repository_of(program)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "copy"
        (copy / ".git").mkdir(parents=True)  # marks the top folder, as in repository_of
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        for arguments in (
            ("read-tree", "--end-of-options", revision),
            ("checkout-index", "--all", f"--prefix={copy}/"),
        ):
            _git(repository, revision, arguments, index)
        earlier = copy / program.relative_to(repository)
        if not (earlier / "Pulumi.yaml").is_file():
            raise CommandError(
                f"--diff {revision}: the revision has no Pulumi.yaml in "
                f"{program.relative_to(repository)}. Name a later revision, or use --baseline."
            )
        yield earlier


def _git(
    repository: Path, revision: str, arguments: tuple[str, ...], index: dict[str, str]
) -> None:
    command = ["git", "-C", str(repository), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, env={**os.environ, **index})
    except FileNotFoundError as error:
        raise CommandError(
            "--diff needs the program git. Install it, or use --baseline."
        ) from error
    if result.returncode:
        reason = " ".join(result.stderr.decode(errors="replace").split())
        raise CommandError(
            f"--diff {revision}: {reason}. Name a revision of {repository}; in a shallow clone, "
            f"fetch it before: git fetch origin {revision}"
        )
