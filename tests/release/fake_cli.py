"""A fake Pulumi CLI, and the release commands with it, a fake Docker, cosign and GitHub CLI."""

import io
import json
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import boto3
import pytest
import yaml

from components.settings.loader import parse
from release.__main__ import main
from sandbox.emulator.server import Emulator
from sandbox.emulator.sessions import session
from tests import processes
from tests.release.fake_aws import ACCOUNT, NEW, OLD, ROOT, FakeAccount

SERVICES = ("gateway", "console")
# The commands run hundreds of times. An interpreter would take half of the CPU time of the tests.
_CLI = r"""#!/bin/bash
LC_ALL=C
for word; do if [ "$word" = --password-stdin ]; then stdin=$(</dev/stdin); fi; done
body=$(printf '%s\1' "$stdin" "$@")
exec 3<>/dev/tcp/HOST/PORT
printf 'POST /COMMAND HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
for part in code text error; do IFS= read -r -d $'\1' "$part" <&3; done
printf %s "$text"
printf %s "$error" >&2
exit "$code"
"""
_GH = """#!/bin/bash
case "$2" in
*/deployment-branch-policies) echo branch main ;;
*/environments/*) echo branch_policy ;;
*/branches/main) echo true ;;
*) exit 1 ;;
esac
"""


def own_stack_file(stack: str = "dev", **settings: Any) -> str:
    """A stack file of the repository without example values, and with other settings."""
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    for example, own in (
        ("123456789012", ACCOUNT),
        ("example.com", "acme.dev"),
        ("example/", "acme/"),
    ):
        assert example in text
        text = text.replace(example, own)
    extra = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in settings.items())
    return text.replace("  gatehouse:settings:\n", f"  gatehouse:settings:\n{extra}")


def name(process: str) -> str:
    return f"gatehouse-dev-{process}"


@dataclass
class FakePulumi(FakeAccount):
    """An account and a Pulumi CLI with the stack dev.

    updates: settings of each complete update. resources, unfinished: in the state.
    recovers: the second complete update is not rolled back.
    failures: error message of the CLI by command. failed_updates: number of updates that fail.
    preview: exit code of previews.
    """

    updates: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    stacks: tuple[str, ...] = ("dev",)
    no_stack: str = "error: no stack named 'dev' found"
    recovers: bool = False
    preview: int = 0
    failed_updates: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    emulator: Emulator | None = None

    def deploy(self, digest: str) -> None:
        """The effect of a complete update."""
        for service in SERVICES:
            self.set_service(name(service), self.register(name(service), digest))
        services = {
            service: {"service": name(service), "taskDefinition": self.revisions(name(service))[-1]}
            for service in SERVICES
        }
        migration = {"taskDefinition": f"x/{name('migrate')}:2", "subnets": ["subnet-1"]}
        urls = {service: f"https://{service}.acme.dev" for service in (*SERVICES, "sharing")}
        probe = {"function": name("probe"), "event": {"services": urls, "canary": {}}}
        self.outputs = {
            **self.outputs,
            "services": services,
            "migration": {**migration, "securityGroup": "sg-1"},
            "urls": urls,
            **({} if self.canary is None else {"probe": probe}),
        }

    def digest(self) -> str:
        """The digest in the stack file."""
        (digest,) = re.findall(r" digest: (\S+)", (self.folder / "Pulumi.dev.yaml").read_text())
        return str(digest)

    def pulumi(self, words: list[str]) -> dict[str, Any]:
        if self.rejection or words[0] in self.failures:
            return {"code": 255, "error": self.failures.get(words[0], self.rejection)}
        match words:
            case ["stack", "--show-name", "--stack", stack, *_]:
                return {} if stack in self.stacks else {"code": 6, "error": self.no_stack}
            case ["stack", "export", *_]:
                return {"text": json.dumps({"deployment": self._state(words[3])})}
            case ["login", url, *_]:
                self.steps.append(f"login {url}")
            case ["stack", "init", stack, *options]:
                self.stacks = (*self.stacks, stack)
                self.steps.append(f"stack init {' '.join([stack, *options[:-1]])}")
            case ["preview", *_]:
                self.steps.append("preview")
                return {"code": self.preview}
            case ["destroy", *_]:
                preview = "--preview-only" in words
                self.steps.append("preview of the destruction" if preview else "destroy")
                return {"code": self.preview}
            case ["up", *_]:
                return self._up(words)
        return {}

    def _up(self, words: list[str]) -> dict[str, Any]:
        if "--exclude-dependents" in words:
            assert "--policy-pack" not in words
            aliases = any("lambda/alias" in word for word in words)
            self.steps.append(f"up without services{' and aliases' if aliases else ''}")
            return {"code": 0 if self.migrates else 255}
        if "--target" in words:
            self.steps.append("up of the registry")
            self.outputs, self.has_registry = {"nameServers": ["ns-1.example"]}, True
            return {}
        assert words.count("--policy-pack") == 2
        self.steps.append("up")
        if self.failed_updates:
            self.failed_updates -= 1
            return {"code": 255, "error": "timeout while waiting for the ECS service\n"}
        if self.recovers and self.updates:
            self.rolls_back, self.canary = False, None if self.canary is None else True
        file = self.folder / "Pulumi.dev.yaml"
        if "--config-file" in words:
            file = Path(words[words.index("--config-file") + 1])
        settings = yaml.safe_load(file.read_text())["config"].get("gatehouse:settings")
        self.updates.append(settings)
        if words[words.index("--stack") + 1] == "dev":
            parse(settings, "dev")  # as the program does
            self.deploy(settings["image"]["digest"])
        return {}

    def _state(self, stack: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = [*self.resources]
        if stack == "dev":
            urn = "urn:pulumi:dev::gatehouse::pulumi:pulumi:Stack::gatehouse-dev"
            rows = [{"urn": urn, "outputs": self.outputs}, *rows]
        return {
            "resources": [
                {"type": row["urn"].split("$")[-1].split("::")[-2], **row} for row in rows
            ],
            "pending_operations": self.unfinished,
            "metadata": {"updates": sum(step.startswith("up") for step in self.steps)},
        }

    def refusal(self, *words: str, **options: Any) -> str:
        result = self.release(*words, **options)
        assert (result.returncode, self.steps) == (2, [])
        return result.stderr

    def release(
        self,
        *words: str,
        image: str = NEW,
        stdin: str = "",
        stack_file: str | None = None,
        credentials: bool = True,
        missing: tuple[str, ...] = (),
        protected: bool = True,
        stack: str = "dev",
        **variables: Any,
    ) -> CompletedProcess[str]:
        """Run `release <words> --env <stack>` in this process.

        image: digest in the stack file. stack_file: its text, by default `own_stack_file()`.
        missing: programs that are not installed. protected: the environments on GitHub have
        protection rules.
        """
        text = own_stack_file() if stack_file is None else stack_file
        file = self.folder / "Pulumi.dev.yaml"
        file.write_text(re.sub(r"digest: sha256:\w+", f"digest: {image}", text))
        folder = self.folder / "bin"
        for command in {"pulumi", "docker", "cosign"} - {*missing}:
            write_command(folder / command, self)
        if words[0] == "deploy":
            processes.executable(folder / "gh", _GH if protected else "#!/bin/bash\nexit 1\n")
        key, secret = self.emulator.credentials if self.emulator else ("x", "x")
        environment = {
            "PATH": os.pathsep.join([str(folder), *([] if missing else [os.environ["PATH"]])]),
            "NO_PROXY": "127.0.0.1",
            "AWS_ENDPOINT_URL": self.emulator.endpoint if self.emulator else self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **({"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret} if credentials else {}),
            **variables,
        }
        output, errors = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as process,
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            inherited = ("AWS_", "PULUMI_", "GITHUB_")
            for variable in [name for name in os.environ if name.startswith(inherited)]:
                process.delenv(variable)
            for variable, value in environment.items():
                process.setenv(variable, value)
            process.setattr(sys, "stdin", io.StringIO(stdin))
            # Without credentials, boto3 creates its default session, which finds none.
            default = session(key, secret) if credentials else None
            process.setattr(boto3, "DEFAULT_SESSION", default)
            code = main([*words, "--env", stack, "--root", str(self.folder)])
        return CompletedProcess(words, code, output.getvalue(), errors.getvalue())


def write_command(file: Path, account: FakeAccount) -> None:
    host, _, port = account.url.removeprefix("http://").partition(":")
    text = _CLI.replace("COMMAND", file.name).replace("HOST", host).replace("PORT", port)
    processes.executable(file, text)


def deployed(account: FakePulumi, *digests: str) -> FakePulumi:
    """The account after deployments of images, by default of OLD."""
    for digest in digests or (OLD,):
        account.deploy(digest)
    return account
