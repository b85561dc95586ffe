"""A project that the real Pulumi CLI deploys, in an empty folder."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.pulumi.environment import Environment

STACK = "dev"
PROGRAM = "Pulumi.yaml"
_PROJECT = """name: keys
runtime:
  name: python
  options: {{virtualenv: {virtualenv}}}
plugins:
  providers: [{{name: gatehouse, path: {programs}}}]
"""


@dataclass
class Project:
    environment: Environment
    folder: Path
    variables: dict[str, str]
    running: subprocess.Popen[str] = field(init=False)

    @classmethod
    def create(cls, environment: Environment, folder: Path) -> "Project":
        programs = Path(sys.executable).parent
        text = _PROJECT.format(virtualenv=programs.parent, programs=programs)
        (folder / PROGRAM).write_text(text)
        state = folder / "state"
        state.mkdir()
        variables = {
            **environment.variables,
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "passphrase",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "NO_COLOR": "1",
        }
        project = cls(environment, folder, variables)
        project.pulumi("stack", "init", STACK)
        return project

    def write(self, *lines: str) -> None:
        header = ("import pulumi", "import gatehouse_pulumi as gatehouse")
        (self.folder / "__main__.py").write_text("\n".join([*header, *lines, ""]))

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", *words, "--non-interactive"]
        self.running = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        output, errors = self.running.communicate(timeout=300)
        self.environment.shown += [output, errors]
        print("$ pulumi", *words, "\n", output, errors)
        return subprocess.CompletedProcess(command, self.running.returncode, output, errors)

    def kill(self) -> None:
        """Kills the running command with its plugins, the provider among them."""
        with suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)

    def pulumi(self, *words: str, **variables: str) -> str:
        done = self.run(*words, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fails(self, *words: str, **variables: str) -> str:
        done = self.run(*words, **variables)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def up(self, *words: str, **variables: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", "--diff", *words, **variables)

    def state(self) -> dict[str, dict[str, Any]]:
        """Resources in the state, by name."""
        exported = json.loads(self.pulumi("stack", "export", "--show-secrets"))["deployment"]
        return {row["urn"].rpartition("::")[2]: row for row in exported.get("resources") or ()}

    def files(self) -> str:
        """The content of all files of the engine: state, history, checkpoints and logs."""
        paths = [path for name in ("state", "home") for path in (self.folder / name).rglob("*")]
        assert any(path.suffix == ".json" for path in paths)
        return "\n".join(path.read_text(errors="replace") for path in paths if path.is_file())
