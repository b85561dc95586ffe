"""A project that the real Pulumi CLI deploys: S3, KMS and IAM of moto, a fake ECS, and
`aws_provider.py`. `make bootstrap` has created the stack.
"""

import fcntl
import itertools
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from release.pulumi.cli import PACKS
from sandbox.emulator.server import Emulator
from tests import processes
from tests.release.fake_aws import ROOT, FakeAccount, serving
from tests.release.fake_cli import own_stack_file, write_command
from tests.runbooks import script

REGION, USER = "eu-west-1", "deployer"
TASK_DEFINITION, SERVICE = "aws:ecs/taskDefinition:TaskDefinition", "aws:ecs/service:Service"
ALIAS = "aws:lambda/alias:Alias"
REPOSITORY = "aws:ecr/repository:Repository"
MIGRATION = "create Invocation migration"
_PROVIDER = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.release.aws_provider "$@"
"""
# Takes the place of `.venv/bin/python` in `make`: the stack is that of the folder, and the traffic
# of functions shifts at once.
_RELEASE = """#!/bin/sh
shift 2
exec {python} -c "
import runpy
import release.function_traffic
release.function_traffic.BAKE_S = 0
runpy.run_module('release', run_name='__main__', alter_sys=True)
" "$@" --root {folder}
"""
# The commands of a runbook do not name the stack's folder, and nobody confirms them.
_MAKE = """#!/bin/sh
exec {make} -C {root} PY={folder}/bin/release YES=1 "$@"
"""
# A pack requires a rule.
_PACK = """
from pulumi_policy import PolicyPack, StackValidationPolicy
PolicyPack('{name}', [StackValidationPolicy('none', 'Checks nothing.', lambda stack, report: None)])
"""


def _succeed(call: str) -> str:
    return ""


@dataclass
class DeployedAccount(FakeAccount):
    """A fake account whose ECS services run the task definitions that the provider has set.

    operations: the operations of the provider, in order, without those of previews.
    calls: the operations of the provider and the calls of ECS, such as "update Service gateway" and
        "DescribeServices".
    on_call: called with each call. Returns the error with which the provider's operation fails, or
        "".
    service: called with each operation and read. Returns the `id` and the `outputs` of resources
        that it knows.
    """

    operations: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    on_call: Callable[[str], str] = _succeed
    service: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: {}
    canary: bool | None = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def operation(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["operation"] == "read":
            found = [
                known["inputs"]
                for known in self.operations
                if (known["type"], known["id"]) == (row["type"], row["id"])
            ]
            return {"error": "", "inputs": (found or [{}])[-1], **self.service(row)}
        name = row["urn"].rpartition("::")[2]
        kind = row["type"].rpartition(":")[2]
        prefix = "preview " if row["preview"] else ""
        call = f"{row['operation']} {kind} {name}"
        error = self._call(f"{prefix}{call}")
        if call == MIGRATION and not row["preview"] and not self.migrates:
            error = "the migration failed (exit code 1)"
        with self._lock:
            if not row["preview"] and not error:
                created = [other for other in self.operations if other["operation"] == "create"]
                row["number"] = 1 + sum(other["urn"] == row["urn"] for other in created)
                self.operations.append(row)
                self._apply(row)
        result = {} if row["preview"] or error else self.service(row)
        return {"error": error, "number": row.get("number", 0), **result}

    def _apply(self, row: dict[str, Any]) -> None:
        inputs, operation = row["inputs"], row["operation"]
        if row["type"] == TASK_DEFINITION and operation == "create":
            arn = f"{row['arn'].rpartition(':')[0]}:{row['number']}"
            self.definitions[arn] = json.loads(inputs["containerDefinitions"])
        elif row["type"] == SERVICE and operation == "delete":
            self.running.pop(inputs["name"], None)
        elif row["type"] == SERVICE:
            self.set_service(inputs["name"], inputs["taskDefinition"])

    def _call(self, call: str) -> str:
        self.calls.append(call)
        return self.on_call(call)

    @contextmanager
    def each(self, on_call: Callable[[str], str]) -> Iterator[None]:
        self.on_call = on_call
        yield
        self.on_call = _succeed

    def ecr(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        created = {row["inputs"]["name"] for row in self.operations if row["type"] == REPOSITORY}
        self.has_registry = created >= {*request.get("repositoryNames", ())}
        return super().ecr(action, request)

    def ecs(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self._call(action)
        return super().ecs(action, request)

    def aws_lambda(self, path: str, event: Mapping[str, Any]) -> dict[str, Any]:
        if "/aliases/" not in path:
            return super().aws_lambda(path, event)
        versions = [
            row["inputs"]["functionVersion"] for row in self.operations if row["type"] == ALIAS
        ]
        return {"Name": "live", "FunctionVersion": versions[-1]}


class Terminal:
    """A command in its own terminal. answers: what the user enters, by the end of the prompt."""

    def __init__(
        self, command: list[str], environment: dict[str, str], answers: Mapping[str, str]
    ) -> None:
        self._controller, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (40, 120))
        self._answers = dict(answers)
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=self._start_session,
        )
        os.close(terminal)

    @staticmethod
    def _start_session() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def press(self, keys: str) -> None:
        os.write(self._controller, keys.encode())

    def wait(self) -> tuple[int, str]:
        output = ""
        with suppress(OSError):  # Linux raises EIO when no process has the terminal open any more.
            while data := os.read(self._controller, 65536):
                output += data.decode(errors="replace")
                for prompt in [prompt for prompt in self._answers if prompt in output]:
                    self.press(self._answers.pop(prompt))
        code = self._process.wait()
        os.close(self._controller)
        output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r\n", "\n")
        print(output)
        return code, output


class Project:
    """A folder with the program, the packs and the file of a stack. Its environment is `.venv` of
    the repository.

    small: the program is `small_program.py`, and the packs have no rules.
    """

    def __init__(
        self, stack: str, folder: Path, account: DeployedAccount, emulator: Emulator, *, small: bool
    ) -> None:
        self.stack, self.folder, self.account = stack, folder, account
        self.digests = 0
        self._retained = set[str]()
        self.emulator = emulator
        self.environment = engine_environment(folder, account.url)
        for service in ("S3", "KMS", "IAM", "CLOUDWATCH"):
            self.environment[f"AWS_ENDPOINT_URL_{service}"] = emulator.endpoint
        emulator.client("iam", "us-east-1").create_user(UserName=USER)
        self.sign_in()
        _write_program(folder)
        if small:
            (folder / "__main__.py").write_text(
                Path(__file__).with_name("small_program.py").read_text()
            )
            for pack in PACKS:
                (folder / pack / "__main__.py").write_text(_PACK.format(name=Path(pack).name))
        self.write_settings({})
        assert self.make("bootstrap")[0] == 0

    @property
    def file(self) -> Path:
        return self.folder / f"Pulumi.{self.stack}.yaml"

    def sign_in(self) -> None:
        iam = self.emulator.client("iam", "us-east-1")
        self.expire_credentials()
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        self.environment |= {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        self.account.rejection = ""
        self.emulator.permissions.enforce(False)

    def expire_credentials(self) -> None:
        iam = self.emulator.client("iam", "us-east-1")
        for key in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=USER, AccessKeyId=key["AccessKeyId"])
        self.account.rejection = "ExpiredToken"
        self.emulator.permissions.enforce(True)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        header = yaml.safe_load(self.file.read_text()) if self.file.exists() else {}
        document = yaml.safe_load(own_stack_file(self.stack))
        self.digests += 1
        _merge(document["config"]["gatehouse:settings"], settings)
        text = yaml.safe_dump(
            {**{key: value for key, value in header.items() if key != "config"}, **document}
        )
        self.file.write_text(
            re.sub(r"digest: sha256:\w+", f"digest: sha256:{self.digests:064x}", text)
        )

    @property
    def digest(self) -> str:
        match = re.search(r"sha256:\w+", self.file.read_text())
        return match[0] if match else ""

    def command(self, target: str, **variables: int) -> list[str]:
        arguments = [f"{name}={value}" for name, value in variables.items()]
        return [
            "make",
            f"PY={self.folder / 'bin' / 'release'}",
            target,
            f"ENV={self.stack}",
            *arguments,
        ]

    def start(self, target: str, **variables: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(target, **variables),
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def make(self, target: str, **variables: int) -> tuple[int, str]:
        """Run a target of `make` without a terminal. Returns its exit code and its output."""
        process = self.start(target, **variables)
        output, _ = process.communicate()
        print(output)
        return process.returncode, output

    def terminal(
        self, target: str, answers: Mapping[str, str] | None = None, **variables: int
    ) -> Terminal:
        return Terminal(self.command(target, **variables), self.environment, answers or {})

    def pulumi(self, *words: str) -> str:
        command = ["pulumi", *words, "--non-interactive"]
        return processes.run(
            command, cwd=self.folder, env=self.environment, check=True, timeout=None
        ).stdout

    def run(self, text: str, values: Mapping[str, str] | None = None) -> str:
        folder = self.folder / "runbook"
        folder.mkdir(exist_ok=True)
        write_command(folder / "docker", self.account)
        make = _MAKE.format(make=shutil.which("make"), root=ROOT, folder=self.folder)
        processes.executable(folder / "make", make)
        done = processes.run(
            ["bash", "-euc", script(text, values)],
            cwd=self.folder,
            env={
                **self.environment,
                "PATH": f"{folder}{os.pathsep}{self.environment['PATH']}",
                "PULUMI_SKIP_CONFIRMATIONS": "true",
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL_RDS": self.emulator.endpoint,
            },
            stdin=subprocess.DEVNULL,
            timeout=None,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        return done.stdout

    def state(self) -> dict[str, Any]:
        deployment: dict[str, Any] = json.loads(
            self.pulumi("stack", "export", "--stack", self.stack)
        )["deployment"]
        return deployment

    def unfinished(self) -> dict[str, Any]:
        """Replaced resources that are not deleted, operations in progress, and resources that only
        the account (positive) or only the state has (negative), without those that Pulumi does not
        delete in AWS. Empty after a complete deployment.
        """
        state = self.state()
        resources = state.get("resources") or []
        self._retained |= {
            row["urn"] for row in resources if row.get("retainOnDelete") or row.get("deletedWith")
        }
        existing = Counter[str]()
        for row in self.account.operations:
            existing[row["urn"]] += {"create": 1, "delete": -1}.get(row["operation"], 0)
        existing.subtract(
            row["urn"]
            for row in resources
            if row["type"].startswith("aws:") and not row.get("external")
        )
        return {
            **{
                urn: number
                for urn, number in existing.items()
                if number and urn not in self._retained
            },
            **{row["urn"]: "pending deletion" for row in resources if row.get("delete")},
            **{
                row["resource"]["urn"]: row["type"] for row in state.get("pending_operations") or []
            },
        }


@contextmanager
def running(stack: str, folder: Path, *, small: bool = False) -> Iterator[Project]:
    account = DeployedAccount()
    with Emulator.start() as emulator, serving(account):
        yield Project(stack, folder, account, emulator, small=small)


def deploy(project: Project, settings: Mapping[str, Any] | None = None) -> None:
    project.write_settings(settings or {})
    repeat(project)


def repeat(project: Project) -> None:
    """Deploy the settings. The deployment succeeds and leaves nothing unfinished."""
    project.account.calls.clear()
    assert project.make("deploy", YES=1)[0] == 0
    assert_deployed(project)


def assert_deployed(project: Project) -> None:
    assert project.unfinished() == {}
    assert project.account.images() == {project.digest}


def interrupt(
    project: Project,
    target: str,
    call: str,
    number: int = 0,
    answers: Mapping[str, str] | None = None,
) -> None:
    """Run a target of `make` whose user presses Ctrl-C during a call of the account. Assert that
    the last line names the same command, and that no operation has an unknown result.

    call, number: the first (0) or a later one of the calls that begin with this text.
    """
    numbers = itertools.count()

    def press(current: str) -> str:
        if current.startswith(call) and next(numbers) == number:
            print(f"Ctrl-C during: {current}")
            terminal.press("\x03")
        return ""

    with project.account.each(press):
        terminal = project.terminal(target, answers, YES=1)
        code, output = terminal.wait()
    next_command = f"{target}: interrupted. To continue, run: make {target} ENV={project.stack}"
    # After the message, SIGINT ends `make` itself. The terminal echoes ^C.
    assert (code, last_line(output).removeprefix("^C")) == (-signal.SIGINT, next_command)
    assert set(project.unfinished().values()) <= {"pending deletion"}


def last_line(output: str) -> str:
    return [line for line in output.splitlines() if line and not line.startswith("make: ")][-1]


def _merge(settings: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and key in settings:
            _merge(settings[key], value)
        else:
            settings[key] = value


def engine_environment(folder: Path, endpoint: str) -> dict[str, str]:
    """The variables of a Pulumi CLI whose plugins are in `bin`. endpoint: of AWS."""
    removed = ("AWS_", "PULUMI_", "GITHUB_", "PYTHONPATH", "MAKE", "MFLAGS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    return {
        **inherited,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "NO_PROXY": "127.0.0.1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _write_program(folder: Path) -> None:
    """With the environment of the repository, which the engine then does not change."""
    python = {"name": "python", "options": {"virtualenv": str(ROOT / ".venv")}}
    for name in ("Pulumi.yaml", *(f"{pack}/PulumiPolicy.yaml" for pack in PACKS)):
        project = folder / name
        project.parent.mkdir(parents=True, exist_ok=True)
        (project.parent / "__main__.py").write_text(
            (ROOT / name).with_name("__main__.py").read_text()
        )
        project.write_text(
            yaml.safe_dump(yaml.safe_load((ROOT / name).read_text()) | {"runtime": python})
        )
    for name in ("runtime", "policies.toml"):  # the code of the functions, and what the packs read
        (folder / name).symlink_to(ROOT / name)
    for name, text in (("pulumi-resource-aws", _PROVIDER), ("release", _RELEASE)):
        script = text.format(root=ROOT, python=sys.executable, folder=folder)
        processes.executable(folder / "bin" / name, script)
