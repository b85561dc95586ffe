"""Chromium for the browser tests: the installed one, or the npm package `@sparticuz/chromium`.

The package contains Chromium for Linux on x86_64 with its libraries and a font. `launch` installs
it below .gatehouse/tools if no Chromium is installed. `python -m tools.chromium`, which .ci/run
calls, prints the path of Chromium, with exit code 1 if there is none.
"""

import asyncio
import os
import platform
import shutil
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, BrowserType, Playwright, async_playwright

from tools import nodejs

ROOT = Path(__file__).resolve().parents[1]
#: The package with its version and hash.
LOCKED = ROOT / "scripts" / "requirements" / "chromium"
_FOLDER = ROOT / ".gatehouse" / "tools" / "chromium"
_PLAYWRIGHT = ".venv/bin/playwright install --with-deps chromium"

#: Programs, in order of preference. The headless shell is Chromium without its user interface. It
#: takes half of the CPU time.
_NAMES = (
    *("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
    *(f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Chromium", "Google Chrome")),
)
#: Chromium's own services would contact other hosts.
_ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
#: The package unpacks its libraries only on AWS Lambda.
_UNPACK = "import chromium from '@sparticuz/chromium'; await chromium.executablePath()"
#: The configuration in the package contains the paths of AWS Lambda.
_FONTS = '<fontconfig><dir prefix="relative">fonts</dir></fontconfig>\n'


class ChromiumMissingError(Exception):
    """Chromium is neither installed nor available as a package. The message contains the command
    that installs it.
    """


@dataclass(frozen=True)
class Chromium:
    """A program, and variables for its process only."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)


def playwright() -> AbstractAsyncContextManager[Playwright]:
    """Playwright with the Node.js of the web UI: its own requires libatomic, which minimal systems
    do not have.
    """
    program = shutil.which("node", path=nodejs.environment()["PATH"])
    if program:
        os.environ["PLAYWRIGHT_NODEJS_PATH"] = program
    return async_playwright()


async def launch(chromium: BrowserType) -> Browser:
    """Starts headless Chromium. Raises ChromiumMissingError."""
    program = await asyncio.to_thread(_find, Path(chromium.executable_path))
    # A root user cannot use the sandbox of Chromium.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    variables: dict[str, str | float | bool] = {**os.environ, **program.variables}
    return await chromium.launch(
        executable_path=program.path, args=[*_ARGUMENTS, *sandbox], env=variables
    )


def _find(bundled: Path) -> Chromium:
    """`bundled`: the path at which Playwright installs Chromium."""
    path = next(filter(None, map(shutil.which, (*_NAMES, str(bundled)))), None)
    if path is not None:
        return Chromium(Path(path))
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ChromiumMissingError(f"Chromium is not installed. Run: {_PLAYWRIGHT}")
    _install()
    libraries = os.pathsep.join(
        filter(None, (str(_FOLDER / "al2023/lib"), str(_FOLDER), os.environ.get("LD_LIBRARY_PATH")))
    )
    return Chromium(
        _FOLDER / "chromium",
        {"LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": str(_FOLDER / "fonts.conf")},
    )


def _install() -> None:
    try:
        nodejs.install(LOCKED, _FOLDER, _unpack)
    except nodejs.InstallationError as error:
        message = f"Chromium is not installed, and {error}. Run: {_PLAYWRIGHT}"
        raise ChromiumMissingError(message) from error


def _unpack(folder: Path) -> None:
    variables = {"TMPDIR": str(folder), "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x"}
    nodejs.run(folder, "node", "--input-type=module", "--eval", _UNPACK, **variables)
    (folder / "fonts.conf").write_text(_FONTS)


async def main() -> int:
    async with playwright() as driver:
        try:
            print(_find(Path(driver.chromium.executable_path)).path)
        except ChromiumMissingError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
