"""Runs a program in a process of its own, so that it cannot change the check.

The process writes messages for the packs, which this process only passes on, and facts about the
resources as JSON. Nothing that it writes is executed.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pulumi_local.aws_location import AwsLocation
from pulumi_local.errors import CommandError
from pulumi_local.outputs import invented
from pulumi_local.outputs.invented import without_invented
from pulumi_local.outputs.providers import FakeProvider, PreviewProvider
from pulumi_local.runner import run
from pulumi_local.type_tokens import AWS_PROVIDER
from pulumi_local.types import ACCOUNT, Deployment

from gatehouse_policies.processes.messages import Messages


@dataclass(frozen=True)
class Request:
    """One run. known: outputs are known. account: the account of a provider that does not set
    allowedAccountIds. lenient: the result of a function of `apply` that fails is unknown. examples:
    see `project.load`. lookups: results of functions, see `invoke_or_fake`.
    """

    program: str
    stack: str
    known: bool
    account: str
    lenient: bool
    examples: Mapping[str, Any]
    lookups: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    messages: what the packs evaluate; None if the program failed. After a lookup with a fake
        result, which can be the reason, these are the resources up to the failure.
    error: the message of the error, "" without one.
    applied: the URN and the message of each function of `apply` that failed.
    functions: the provider functions with fake results.
    account: the account that results must contain, if the run had another one; otherwise "".
    decisions: where the program decides by the result of a lookup.
    """

    messages: Messages | None = None
    error: str = ""
    applied: tuple[tuple[str, str], ...] = ()
    functions: tuple[str, ...] = ()
    account: str = ""
    decisions: tuple[str, ...] = ()


class ProgramProcess:
    """A process that runs a program for one request after another. A context manager, which ends
    the process.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "ProgramProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def run(self, request: Request) -> Outcome:
        """Run the program. Raises CommandError if the process ends without a result."""
        file = Path(self._folder.name) / "messages"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: PT018, S101  set by PIPE
        try:
            stdin.write(json.dumps([str(file), asdict(request)]).encode() + b"\n")
            stdin.flush()
            facts = json.loads(stdout.readline())
        except (OSError, ValueError):
            raise CommandError(
                f"The program in {request.program} ended its process (status "
                f"{self._process.wait()}). Remove the call that ends it."
            ) from None
        if facts["unexpected"]:
            raise RuntimeError(facts["unexpected"])
        return Outcome(
            Messages.read(file) if facts["written"] else None,
            facts["error"],
            tuple((urn, message) for urn, message in facts["applied"]),
            tuple(facts["functions"]),
            facts["account"],
            tuple(facts["decisions"]),
        )


def main() -> None:
    """Answer each line of standard input with a line. What the program prints goes to standard
    error, and it cannot close the input: `exit` does.
    """
    with (
        os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8") as requests,
        os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers,
    ):
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        # A collection traverses the millions of objects in pulumi-aws.
        gc.disable()
        for line in requests:
            file, request = json.loads(line)
            answers.write(json.dumps(_answer(Request(**request), Path(file))) + "\n")
            answers.flush()


def _answer(request: Request, file: Path) -> dict[str, Any]:
    provider_class = FakeProvider if request.known else PreviewProvider
    provider = provider_class(request.account, request.lookups)
    applied: list[tuple[str, str]] = []
    answer: dict[str, Any] = {"error": "", "unexpected": "", "account": "", "written": False}
    answer["decisions"] = []

    def record(urn: str, error: CommandError) -> None:
        applied.append((urn, error.message))

    def keep(error: CommandError) -> bool:
        answer["error"] = error.message
        return bool(provider.faked_functions)

    try:
        # A run with known outputs is a preview as well, because exports of other stacks, encrypted
        # configuration values and the outputs of other providers are unknown in a preview only.
        deployment = run(
            Path(request.program),
            request.stack,
            provider,
            preview=True,
            examples=request.examples,
            on_apply_error=record if request.lenient else None,
            on_failure=keep,
        )
        answer["decisions"] = deployment.decisions
        account = _account(deployment)
        answer["account"] = account if provider.uses_account and account != request.account else ""
        Messages.of(without_invented(deployment), request.account).write(file)
        answer["written"] = True
    except CommandError as error:
        answer["error"] = error.message
    except Exception:
        answer["unexpected"] = traceback.format_exc()
    return answer | {"applied": applied, "functions": sorted(provider.faked_functions)}


def _account(deployment: Deployment) -> str:
    """The account of a provider that does not set allowedAccountIds: that of all other providers
    of the program. It is invented if they have several.
    """
    accounts = {
        AwsLocation.of(resource.registration.inputs).account
        for resource in deployment.resources
        if resource.registration.type == AWS_PROVIDER
    }
    declared = accounts - {ACCOUNT}
    if not declared:
        return ACCOUNT
    return declared.pop() if len(declared) == 1 else invented.ACCOUNT


if __name__ == "__main__":
    main()
