"""Releases a version: `make release VERSION=0.2.0`.

python -m tools.new_release check 0.2.0     before the tests: prints what prevents the release
python -m tools.new_release create 0.2.0    after the tests: changelog, version, commit, tag
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FRAGMENTS = ROOT / "changes"
_CHANGELOG = ROOT / "CHANGELOG.md"
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_HEADING = re.compile(rf"^## ({_VERSION.pattern}) ", re.MULTILINE)


def problems(version: str) -> list[str]:
    """What prevents the release of this version. Empty: nothing."""
    if not _VERSION.fullmatch(version):
        return [f"VERSION={version} is not three numbers. Example: make release VERSION=0.2.0"]
    tags = _run("git", "tag", "--list", "v*").replace("v", "").split()
    released = [*filter(_VERSION.fullmatch, tags), *_HEADING.findall(_CHANGELOG.read_text())]
    latest = max(released, key=_numbers, default="0.0.0")
    found = []
    if _numbers(version) <= _numbers(latest):
        found.append(f"{version} is not higher than the latest release, {latest}")
    if changed := _run("git", "status", "--porcelain").splitlines():
        others = f" and {len(changed) - 1} more" if changed[1:] else ""
        found.append(f"not committed: {changed[0].split()[-1]}{others}")
    if not any(path.name != "README.md" for path in _FRAGMENTS.glob("*.md")):
        found.append("no changes: changes/ contains no fragment (changes/README.md)")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def create(version: str) -> None:
    """Raises CalledProcessError."""
    towncrier = str(Path(sys.executable).with_name("towncrier"))
    _run(towncrier, "build", "--yes", "--version", version)
    _run("uv", "version", "--no-sync", version)
    _run("git", "commit", "--all", "--message", f"release: {version}")
    for tag in _tags(version):
        _run("git", "tag", "--annotate", tag, "--message", f"Gatehouse {version}")


def _tags(version: str) -> tuple[str, ...]:
    """The tag of the version, and that of the Go module in its folder, which Go requires."""
    return f"v{version}", f"clients/go/v{version}"


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("check", "create"))
    parser.add_argument("version")
    options = parser.parse_args(arguments)
    if found := problems(options.version):
        print("\n".join(f"release: {problem}" for problem in found), file=sys.stderr)
        return 1
    if options.action == "create":
        try:
            create(options.version)
        except subprocess.CalledProcessError as error:
            command = " ".join(error.cmd[:2])
            print(f"release: {command} failed. To undo: git reset --hard", file=sys.stderr)
            return 1
        tags = " ".join(_tags(options.version))
        print(f"Created the tags {tags}. To publish them: git push --atomic origin HEAD {tags}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
