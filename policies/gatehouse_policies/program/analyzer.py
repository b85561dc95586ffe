"""Runs policy packs like the Pulumi engine: each pack in a separate process, called through the
Analyzer protocol (gRPC).
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import grpc
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto
from pulumi.runtime.proto import analyzer_pb2_grpc

from gatehouse_policies import catalogue
from gatehouse_policies.engine.environment import VARIABLE
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program import child_process, policy_config
from gatehouse_policies.program.messages import Messages
from gatehouse_policies.program.policy_config import RuleConfigs
from gatehouse_policies.program.project import Project

_START_S = 60.0
_CALL_S = 120.0
_EXIT_S = 5.0
_POLL_S = 0.02
_PORT_BYTES_MAX = 1000
# The pack only parses the address of the engine (pulumi/policy/__main__.py).
_ENGINE_ADDRESS = "127.0.0.1:0"
# The limit of the engine (sdk/go/common/util/rpcutil); the default of gRPC is 4 MB.
_MESSAGE_BYTES_MAX = 400 * 1024 * 1024
# gRPC has several threads. With a heap for each thread, glibc would keep the memory of the largest
# request in each heap.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "1"}
_RAISED = "Exception calling application: "  # prefix that gRPC adds to an exception of a servicer
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


class Pack:
    """A running policy pack, started by `packs`. The pack starts in the background, and the first
    call waits until it is ready."""

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
            raise CheckError(f"{folder.name} is not a policy pack: it has no PulumiPolicy.yaml.")
        self.name = self.title = folder.name
        self._changes = (_levels(folder, environment), changes)
        self._selects = selects
        self._project = project
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self.levels: dict[str, str] = {}
        self.seconds = 0.0  # time of all calls of `analyze`, without the start of the pack
        self._child = child_process.start(
            f"policy pack {folder.name}",
            # As in the Python language host (pulumi-language-python/main.go, RunPlugin).
            [_python(folder), "-u", "-m", "pulumi.policy", _ENGINE_ADDRESS, str(folder)],
            cwd=folder,
            env={**_ALLOCATOR, **os.environ, **variables, **_environment(project, environment)},
            stdout=self._output,
            stderr=self._errors,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def connect(self) -> None:
        """Wait for the port of the pack and configure it. Raises CheckError if the pack does not
        start.
        """
        if self._stub is not None:
            return
        port = self._read_port()
        limits = [
            (f"grpc.max_{way}_message_length", _MESSAGE_BYTES_MAX) for way in ("receive", "send")
        ]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=limits)
        self._stub = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        stack = proto.AnalyzerStackConfigureRequest(
            stack=self._project.stack,
            project=self._project.name,
            organization="organization",
            dry_run=True,
            config=self._project.config,
        )
        self._call("ConfigureStack", stack, optional=True)
        info = self._call("GetAnalyzerInfo", empty_pb2.Empty())
        self.title = str(info.name)
        config = policy_config.configuration(info, *self._changes, selects=self._selects)
        self.levels = {
            name: policy_config.level_name(row.enforcementLevel) for name, row in config.items()
        }
        self._call("Configure", proto.ConfigureAnalyzerRequest(policyConfig=config))

    def analyze(self, messages: Messages) -> list[Diagnostic]:
        """Call Analyze with the inputs of each resource, then AnalyzeStack with all outputs."""
        self.connect()
        started_at = time.monotonic()
        diagnostics = self._analyze(messages)
        self.seconds += time.monotonic() - started_at
        return diagnostics

    def _analyze(self, messages: Messages) -> list[Diagnostic]:
        diagnostics = []
        for request in messages.requests:
            response = self._call("Analyze", request)
            diagnostics += [_diagnostic(row, request.urn) for row in response.diagnostics]
        response = self._call("AnalyzeStack", messages.stack, optional=True)
        known = messages.urns
        rows = response.diagnostics if response else ()
        return diagnostics + [
            _diagnostic(row, row.urn if row.urn in known else messages.root) for row in rows
        ]

    def stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._child.stop(signal.SIGTERM, timeout_s=2.0)
        self._output.close()
        self._errors.close()

    def _read_port(self) -> int:
        deadline = time.monotonic() + _START_S
        while b"\n" not in (output := os.pread(self._output.fileno(), _PORT_BYTES_MAX, 0)):
            if self._child.process.poll() is not None:
                raise CheckError(f"Policy pack {self.name} did not start: {self._last_error()}")
            if time.monotonic() > deadline:
                raise CheckError(
                    f"Policy pack {self.name} reported no port within {_START_S:.0f} s."
                )
            time.sleep(_POLL_S)
        line = output.partition(b"\n")[0].decode(errors="replace").strip()
        if not line.isdigit():
            instead = f"Policy pack {self.name} printed {line[:80]!r} instead of its port."
            raise CheckError(f"{instead} Remove print calls that run before PolicyPack(...).")
        return int(line)

    def _call(self, method: str, request: Any, *, optional: bool = False) -> Any:
        """Call a method. Returns None if the pack's SDK lacks an `optional` method. Raises
        CheckError if the call fails.
        """
        try:
            return getattr(self._stub, method)(request, timeout=_CALL_S)
        except grpc.RpcError as problem:
            code, details = problem.code(), str(problem.details() or "")
            if optional and code == grpc.StatusCode.UNIMPLEMENTED:
                return None
            resource = f" for {request.urn}" if getattr(request, "urn", "") else ""
            raised = details.removeprefix(_RAISED)
            if raised == details:
                # The connection is lost before the exit status of the process is available.
                with suppress(subprocess.TimeoutExpired):
                    self._child.process.wait(_EXIT_S)
            exited = self._child.process.poll() is not None
            reason = f"the process exited: {self._last_error()}" if exited else raised
            raise CheckError(
                f"Policy pack {self.name} failed in {method}{resource}: {reason}"
            ) from problem

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


@contextmanager
def packs(
    folders: Sequence[Path],
    project: Project,
    environment: str,
    variables: Mapping[str, str] | None = None,
    changes: RuleConfigs | None = None,
    selects: Callable[[str], bool] = lambda _id: True,
) -> Iterator[tuple[Pack, ...]]:
    """Start all packs, and stop them on exit. Raises CheckError for a folder without a pack.

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
    """Return the diagnostics of all packs for a deployment. The packs run in parallel."""
    with ThreadPoolExecutor(max_workers=max(1, len(running))) as pool:
        return list(chain.from_iterable(pool.map(lambda pack: pack.analyze(messages), running)))


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


def _levels(folder: Path, environment: str) -> RuleConfigs:
    """The levels of a shipped pack in an environment. Other packs have the levels that their rules
    declare.
    """
    if folder.parent != catalogue.PACKS_FOLDER or folder.name not in catalogue.PACKS:
        return {}
    return catalogue.level_config(folder.name, environment)


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
