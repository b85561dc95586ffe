"""Evaluates a program in another language than Python: the Pulumi CLI runs it with the packs.

Source of the format: `pulumi preview --json` with PULUMI_ENABLE_STREAMING_JSON_PREVIEW writes one
engine event a line (pkg/backend/display/events.go, sdk/go/common/apitype/events.go of
pulumi/pulumi, read in November 2026).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError
from pulumi_local.files.yaml_file import read_mapping, read_stack_file
from pulumi_local.type_tokens import STACK as _STACK
from pulumi_local.types import Registration

from gatehouse_policies import catalogue
from gatehouse_policies.engine.rule import SEVERITIES
from gatehouse_policies.processes.analyzer import Diagnostic
from gatehouse_policies.processes.messages import Messages
from gatehouse_policies.processes.policy_config import RuleConfigs

_COLORS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_BOOLEAN = re.compile(r"=(True|False)\b")  # as Python writes it
_ERRORS_MAX = 3
_LINES_MAX = 3


@dataclass(frozen=True)
class Program:
    """A program of which Pulumi.yaml names another runtime than Python. config: the texts of the
    stack file, by their full keys.
    """

    folder: Path
    name: str
    runtime: str
    stack: str
    config: Mapping[str, str]


@dataclass
class EnginePack:
    """A pack that the Pulumi CLI runs. levels: those that the CLI receives, for a shipped pack."""

    title: str
    levels: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def not_reported(packs: Sequence[object]) -> list[str]:
    """A sentence if the CLI has run a pack."""
    has_run = any(isinstance(pack, EnginePack) for pack in packs)
    return ["the Pulumi CLI does not report which inputs the controls evaluate"] if has_run else []


def find(folder: Path, stack: str) -> Program | None:
    """The program in a folder, unless it is in Python or has no valid Pulumi.yaml."""
    file = folder / "Pulumi.yaml"
    document = read_mapping(file) if file.is_file() else {}
    runtime, name = document.get("runtime"), document.get("name")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if not isinstance(language, str) or language == "python" or not isinstance(name, str):
        return None
    stack_file = folder / str(document.get("stackConfigDir", "")) / f"Pulumi.{stack}.yaml"
    values = read_stack_file(stack_file).get("config") if stack_file.is_file() else {}
    config = {
        key if ":" in key else f"{name}:{key}": value
        if isinstance(value, str)
        else json.dumps(value)
        for key, value in (values or {}).items()
    }
    return Program(folder, name, language, stack, config)


def preview(
    program: Program, packs: Mapping[Path, RuleConfigs], variables: Mapping[str, str]
) -> tuple[Messages, list[Diagnostic], str]:
    """The resources of a preview, without inputs, the diagnostics of the packs, and the error of a
    program that stopped after a violation, so that the resources after it are not evaluated.

    packs: the configuration of each pack, by its folder. variables: environment variables of the
    packs. Raises CommandError without the Pulumi CLI, and if the preview fails.
    """
    command = ["preview", "--stack", program.stack]
    executable = shutil.which("pulumi")
    if executable is None:
        folders = " ".join(f"--policy-pack {folder}" for folder in packs)
        raise CommandError(
            f"Pulumi.yaml: runtime is {program.runtime!r}, and only Python programs run without "
            f"the Pulumi CLI, which is not on PATH. Install it and run the check again, or run in "
            f"{program.folder}: pulumi {' '.join(command)} {folders}"
        )
    with tempfile.TemporaryDirectory() as folder:
        options = ["--json", "--non-interactive", "--color", "never"]
        for number, (pack, config) in enumerate(packs.items()):
            file = Path(folder) / f"{number}.json"
            file.write_text(json.dumps(config), encoding="utf-8")
            options += ["--policy-pack", str(pack), "--policy-pack-config", str(file)]
        done = subprocess.run(
            [executable, *command, *options],
            cwd=program.folder,
            env={
                **os.environ,
                **variables,
                "PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                # The interpreter of the packs, which has their modules.
                "PULUMI_PYTHON_CMD": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    return _results(program, done)


def _results(
    program: Program, done: "subprocess.CompletedProcess[str]"
) -> tuple[Messages, list[Diagnostic], str]:
    events = list(_events(done.stdout))
    diagnostics = [_diagnostic(row) for event in events if (row := event.get("policyEvent"))]
    is_violated = any(each.level == "mandatory" for each in diagnostics)
    said = [event["diagnosticEvent"] for event in events if "diagnosticEvent" in event]
    # A violation of a stack rule is reported as "preview failed" as well.
    errors = [text for text in _texts(said, "error") if text != "preview failed"]
    is_complete = done.returncode == 0 and any("summaryEvent" in event for event in events)
    if not is_violated and not is_complete:
        # Pulumi YAML reports errors of types on stderr.
        texts = errors or _texts(said, "info#err") or [_plain(done.stderr)[-500:] or "no message"]
        text = "; ".join(texts[:_ERRORS_MAX])
        raise CommandError(f"pulumi preview failed with exit code {done.returncode}: {text}")
    rows = [
        event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event
    ]
    parts = (f"urn:pulumi:{program.stack}", program.name, _STACK)
    root = "::".join((*parts, f"{program.name}-{program.stack}"))
    registrations = {row["urn"]: _registration(row) for row in rows if row["type"] != _STACK}
    kept = tuple(each for each in registrations.values() if each is not None)
    messages = Messages(program.name, program.stack, root, kept, (), b"")
    stopped = f"the program stopped: {errors[0]}" if errors and not is_complete else ""
    return messages, diagnostics, stopped


def _texts(said: Sequence[Mapping[str, Any]], severity: str) -> list[str]:
    """The first lines of the messages with a severity; the others are a stack trace."""
    texts = (_plain(row["message"]) for row in said if row.get("severity") == severity)
    lines = ([line for line in text.splitlines() if line.strip()] for text in texts if text)
    return ["\n".join(each[:_LINES_MAX]) for each in lines]


def _registration(row: Mapping[str, Any]) -> Registration | None:
    """The resource of a step; None for one that the program does not contain any more."""
    state = row.get("new")
    if state is None:
        return None
    return Registration(
        urn=row["urn"],
        type=row["type"],
        name=row["urn"].rpartition("::")[2],
        custom=bool(state.get("custom")),
        parent=str(state.get("parent") or ""),
        inputs={},
        external=row["op"] in ("read", "read-replacement"),
    )


def _diagnostic(row: Mapping[str, Any]) -> Diagnostic:
    """The SDK puts the description of the policy on the first line."""
    text = _BOOLEAN.sub(lambda value: value[0].lower(), _plain(row["message"]))
    description, separator, message = text.partition("\n")
    level = row["enforcementLevel"]
    control = catalogue.find(row["policyName"])
    if not separator or (control is not None and description != control.title):
        description, message = "", text
    return Diagnostic(
        row["policyName"],
        row["policyPackName"],
        level if level in ("mandatory", "disabled") else "advisory",
        row.get("resourceUrn", ""),
        description,
        message,
        severity if (severity := row.get("severity", "")) in SEVERITIES else "",
    )


def _events(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # What a program or a plugin prints.
        if isinstance(event, dict):
            yield event


def _plain(text: str) -> str:
    return _COLORS.sub("", text).strip()
