"""Runs policy packs like the Pulumi engine, called with the messages of the Analyzer protocol
(pack_server.py). The packs of this distribution run in this process, which saves two processes that
load the Pulumi SDK. Other packs have a process each.
"""

import contextvars
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import yaml
from google.protobuf import empty_pb2
from pulumi.runtime import set_all_config
from pulumi.runtime.proto import analyzer_pb2 as proto
from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.runner import no_collection

from gatehouse_policies import catalogue
from gatehouse_policies import packs as shipped
from gatehouse_policies.engine.environment import VARIABLE
from gatehouse_policies.engine.facts import VARIABLE as FACTS_VARIABLE
from gatehouse_policies.processes import pack_server, policy_config
from gatehouse_policies.processes.messages import Messages
from gatehouse_policies.processes.policy_config import RuleConfigs
from pulumi_local import child_process

_ERROR_LINE = re.compile(r"^[\w.]*(Error|Exception|Exit)\b")


@dataclass(frozen=True)
class Diagnostic:
    """A violation of a rule by one resource, or by the stack.

    level: advisory or mandatory. message: without the description of the rule. severity: "" if the
    pack does not set it.
    """

    rule: str
    pack: str
    level: str
    urn: str
    description: str
    message: str
    severity: str = ""


class _Connection(Protocol):
    """A connection to a pack that starts when it is first called, or before."""

    def call(self, method: str, requests: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """The result of `pack_server.Server.answer`. Raises CommandError if the pack does not
        start, or ends.
        """
        ...

    def close(self) -> None: ...


class _OwnProcess:
    """A pack with a process of its own, and the interpreter of the pack."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._name = folder.name
        self._is_ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._child = child_process.start(
            f"policy pack {folder.name}",
            [_python(folder), "-uP", pack_server.__file__, str(folder)],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def call(self, method: str, requests: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        calls, answers = self._child.process.stdin, self._child.process.stdout
        assert calls is not None and answers is not None  # noqa: PT018, S101  set by PIPE
        try:
            calls.write(json.dumps([method, list(map(len, requests))]).encode() + b"\n")
            calls.writelines(requests)
            calls.flush()
            answer = json.loads(answers.readline())
        except (OSError, ValueError):
            failure = (
                f"failed in {method}: the process exited" if self._is_ready else "did not start"
            )
            raise CommandError(
                f"Policy pack {self._name} {failure}: {self._last_error()}"
            ) from None
        self._is_ready = True
        return answer, [answers.read(size) for size in answer.get("sizes", ())]

    def close(self) -> None:
        for pipe in (self._child.process.stdin, self._child.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._child.stop(signal.SIGTERM, timeout_s=2.0)
        self._errors.close()

    def _last_error(self) -> str:
        """The line of standard error that contains the exception; otherwise the last line."""
        self._child.process.wait(5)
        self._errors.seek(0)
        lines = [
            line.strip()
            for line in self._errors.read().decode(errors="replace").splitlines()
            if line.strip()
        ]
        exceptions = [line for line in lines if _ERROR_LINE.match(line)]
        return (exceptions or lines or [f"exit code {self._child.process.returncode}, no message"])[
            -1
        ]


class _SameProcess:
    """A pack of this distribution, which is called in this process with its own variables and
    Pulumi settings.
    """

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self._name = name
        self._variables = variables
        self._context = contextvars.Context()
        self._server: pack_server.Server | None = None

    def call(self, method: str, requests: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        before = dict(os.environ)
        os.environ |= self._variables
        try:
            with no_collection():
                return self._context.run(self._call, method, requests)
        finally:
            for name in self._variables.keys() - before.keys():
                del os.environ[name]
            os.environ |= before

    def _call(self, method: str, requests: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        if self._server is None:
            # The SDK adds the configuration of the stack to an object that all contexts share.
            set_all_config({}, [])
            self._server = pack_server.started(lambda: shipped.start(self._name))
        return self._server.answer(method, requests)

    def close(self) -> None:
        self._server = None


class Pack:
    """A policy pack, which `packs` starts. A process of its own starts in the background, and the
    first call waits until it is ready.
    """

    def __init__(
        self,
        folder: Path,
        project: Project,
        environment: str,
        variables: Mapping[str, str],
        changes: RuleConfigs,
        selects: Callable[[str], bool],
    ) -> None:
        if not (folder / "PulumiPolicy.yaml").is_file():
            raise CommandError(f"{folder.name} is not a policy pack: it has no PulumiPolicy.yaml.")
        is_shipped = folder.parent == catalogue.PACKS_FOLDER and folder.name in catalogue.PACKS
        # Other packs have the levels that their rules declare.
        levels = catalogue.level_config(folder.name, environment) if is_shipped else {}
        self.name = self.title = folder.name
        self._changes = (levels, changes)
        self._selects = selects
        self._project = project
        self._facts = tempfile.NamedTemporaryFile()  # noqa: SIM115  closed by stop()
        self._written: dict[str, Any] = {}
        self._is_ready = False
        self.levels: dict[str, str] = {}
        self.seconds = 0.0  # time of all calls of `analyze`, without the start of the pack
        variables = {
            **variables,
            **_environment(project, environment),
            FACTS_VARIABLE: self._facts.name,
        }
        self._connection: _Connection = (
            _SameProcess(folder.name, variables) if is_shipped else _OwnProcess(folder, variables)
        )

    def connect(self) -> None:
        """Configure the pack. Raises CommandError if it does not start."""
        if self._is_ready:
            return
        stack = proto.AnalyzerStackConfigureRequest(
            stack=self._project.stack,
            project=self._project.name,
            organization="organization",
            dry_run=True,
            config=self._project.config,
        )
        self._call("ConfigureStack", [stack.SerializeToString()], optional=True)
        info = self.info()
        config = policy_config.configuration(info, *self._changes, selects=self._selects)
        self.levels = {
            name: policy_config.level_name(row.enforcementLevel) for name, row in config.items()
        }
        configured = proto.ConfigureAnalyzerRequest(policyConfig=config)
        self._call("Configure", [configured.SerializeToString()])

    def info(self) -> proto.AnalyzerInfo:
        """The policies of the pack, with their texts and levels."""
        (answer,) = self._call("GetAnalyzerInfo", [empty_pb2.Empty().SerializeToString()])
        info = proto.AnalyzerInfo.FromString(answer)
        self.title = str(info.name)
        return info

    def analyze(self, messages: Messages) -> list[Diagnostic]:
        """Call Analyze with the inputs of each resource, then AnalyzeStack with all outputs."""
        self.connect()
        started_at = time.monotonic()
        diagnostics = self._analyze(messages)
        self.seconds += time.monotonic() - started_at
        text = Path(self._facts.name).read_bytes()
        self._written = json.loads(text) if text else {}
        return diagnostics

    def _analyze(self, messages: Messages) -> list[Diagnostic]:
        urns = messages.managed_urns
        answers = self._call("Analyze", messages.requests, urns)
        diagnostics = [
            _diagnostic(row, urn)
            for urn, answer in zip(urns, answers, strict=True)
            for row in proto.AnalyzeResponse.FromString(answer).diagnostics
        ]
        (answer,) = self._call("AnalyzeStack", [messages.stack])
        known = messages.urns
        return diagnostics + [
            _diagnostic(row, row.urn if row.urn in known else messages.root)
            for row in proto.AnalyzeResponse.FromString(answer).diagnostics
        ]

    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts of the findings, by rule and URN. Empty for a pack without this engine."""
        return dict(self._written.get("facts", {}))

    def inputs(self, section: str) -> dict[str, list[str]]:
        """The paths of inputs that no rule of this distribution evaluates, by type.

        section: "set" for those that the program sets, "read" for those that rules of this pack
            read.
        """
        return dict(self._written.get(section, {}))

    def stop(self) -> None:
        self._connection.close()
        self._facts.close()

    def _call(
        self,
        method: str,
        requests: Sequence[bytes],
        urns: Sequence[str] = (),
        *,
        optional: bool = False,
    ) -> list[bytes]:
        """Call a method with one message after another. Returns nothing if the pack's SDK lacks an
        `optional` method. Raises CommandError if a call fails.

        urns: the resource of each request.
        """
        answer, messages = self._connection.call(method, requests)
        self._is_ready = True
        if answer.get("unimplemented") and optional:
            return []
        if "sizes" not in answer:
            resource = f" for {urns[answer['request']]}" if urns else ""
            error = answer.get("error", "the SDK of the pack has no such method")
            raise CommandError(f"Policy pack {self.name} failed in {method}{resource}: {error}")
        return messages


@contextmanager
def packs(
    folders: Sequence[Path],
    project: Project,
    environment: str,
    variables: Mapping[str, str] | None = None,
    changes: RuleConfigs | None = None,
    selects: Callable[[str], bool] = lambda _id: True,
) -> Iterator[tuple[Pack, ...]]:
    """Start all packs, and stop them on exit. Raises CommandError for a folder without a pack.

    variables: additional environment variables of the packs, such as the file of exemptions.
    changes: levels and parameters of rules, which override those of the packs.
    selects: False for a rule that is disabled.
    """
    with ExitStack() as stack:
        started = []
        for folder in folders:
            pack = Pack(
                folder.resolve(), project, environment, variables or {}, changes or {}, selects
            )
            stack.callback(pack.stop)
            started.append(pack)
        yield tuple(started)


def analyze(running: Sequence[Pack], messages: Messages) -> list[Diagnostic]:
    """Return the diagnostics of all packs for a deployment."""
    return list(chain.from_iterable(pack.analyze(messages) for pack in running))


def _environment(project: Project, environment: str) -> dict[str, str]:
    """The variables that the language host sets for a pack (pulumi-language-python/main.go,
    AwaitConfiguration), and the environment whose levels apply.
    """
    return {
        "PULUMI_ORGANIZATION": "organization",
        "PULUMI_PROJECT": project.name,
        "PULUMI_STACK": project.stack,
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": json.dumps(project.config),
        VARIABLE: environment,
    }


def _python(folder: Path) -> str:
    """The interpreter of the virtual environment in PulumiPolicy.yaml; otherwise the interpreter of
    the check.
    """
    try:
        document = yaml.safe_load((folder / "PulumiPolicy.yaml").read_text())
        python = folder / document["runtime"]["options"]["virtualenv"] / "bin" / "python"
    except (KeyError, TypeError):
        return sys.executable
    return str(python) if os.access(python, os.X_OK) else sys.executable


def _diagnostic(row: proto.AnalyzeDiagnostic, urn: str) -> Diagnostic:
    # The SDK prepends the description to each message (pulumi_policy/policy.py,
    # _create_report_violation).
    message = row.message.removeprefix(f"{row.description}\n")
    return Diagnostic(
        row.policyName,
        row.policyPackName,
        policy_config.level_name(row.enforcementLevel),
        urn,
        row.description,
        message,
        ""
        if row.severity == 0
        else proto.PolicySeverity.Name(row.severity).rpartition("_")[2].lower(),
    )
