"""Runs a program in a process of its own, so that it cannot change the check.

The process sends messages for the packs, which this process only passes on, and facts about the
resources as JSON. Nothing that it sends is executed.
"""

import gc
import json
import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from pulumi.runtime.stack import Stack
from pulumi_local.aws_location import AwsLocation
from pulumi_local.errors import CommandError
from pulumi_local.outputs import invented
from pulumi_local.outputs.invented import without_invented
from pulumi_local.outputs.providers import FakeProvider, PreviewProvider
from pulumi_local.runner import run
from pulumi_local.source_lines import source_line
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
    exports: the lines that export outputs, by the names of the outputs.
    """

    messages: Messages | None = None
    error: str = ""
    applied: tuple[tuple[str, str], ...] = ()
    functions: tuple[str, ...] = ()
    account: str = ""
    decisions: tuple[str, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)


class ProgramProcess:
    """A process that runs a program for one request after another. A context manager, which ends
    the process.
    """

    def __init__(self) -> None:
        context = _start_method()
        self._connection, connection = context.Pipe()
        # Not a daemon, so that the program can start processes.
        self._process = context.Process(target=_serve, args=(connection, dict(os.environ)))
        self._process.start()
        connection.close()

    def __enter__(self) -> "ProgramProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def run(self, request: Request) -> Outcome:
        """Run the program. Raises CommandError if the process ends without a result."""
        try:
            self._connection.send_bytes(json.dumps(asdict(request)).encode())
            facts = json.loads(self._connection.recv_bytes())
            messages = Messages.decoded(self._connection.recv_bytes()) if facts["written"] else None
        except (OSError, EOFError, ValueError):
            self._process.join()
            raise CommandError(
                f"The program in {request.program} ended its process (status "
                f"{self._process.exitcode}). Remove the call that ends it."
            ) from None
        if facts["unexpected"]:
            raise RuntimeError(facts["unexpected"])
        return Outcome(
            messages,
            facts["error"],
            tuple((urn, message) for urn, message in facts["applied"]),
            tuple(facts["functions"]),
            facts["account"],
            tuple(facts["decisions"]),
            facts["exports"],
        )


def _start_method() -> Any:
    """How the process starts: as a copy of this one, in which the Pulumi SDK is loaded; if this
    process has threads, as a copy of a process without any. Without Linux, libraries do not support
    copies.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) == 1:
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _serve(connection: Connection, variables: Mapping[str, str]) -> None:
    """Answer requests until the connection is closed. What the program prints goes to standard
    error.

    variables: environment variables, because a copied process has those of its original.
    """
    os.environ.clear()
    os.environ.update(variables)
    sys.stdout = sys.stderr
    os.dup2(2, 1)
    # A collection traverses the millions of objects in pulumi-aws.
    gc.disable()
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            answer, messages = _answer(Request(**json.loads(connection.recv_bytes())))
            connection.send_bytes(json.dumps(answer).encode())
            if messages is not None:
                connection.send_bytes(messages)


def _answer(request: Request) -> tuple[dict[str, Any], bytes | None]:
    provider_class = FakeProvider if request.known else PreviewProvider
    provider = provider_class(request.account, request.lookups)
    applied: list[tuple[str, str]] = []
    answer: dict[str, Any] = {"error": "", "unexpected": "", "account": ""}
    answer |= {"decisions": [], "exports": {}}
    messages: bytes | None = None

    def record(urn: str, error: CommandError) -> None:
        applied.append((urn, error.message))

    def keep(error: CommandError) -> bool:
        answer["error"] = error.message
        return bool(provider.faked_functions)

    try:
        # A run with known outputs is a preview as well, because exports of other stacks, encrypted
        # configuration values and the outputs of other providers are unknown in a preview only.
        with _exports(Path(request.program)) as answer["exports"]:
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
        messages = Messages.of(without_invented(deployment), request.account).encoded()
    except CommandError as error:
        answer["error"] = error.message
    except Exception:
        answer["unexpected"] = traceback.format_exc()
    answer |= {"applied": applied, "functions": sorted(provider.faked_functions)}
    return answer | {"written": messages is not None}, messages


@contextmanager
def _exports(root: Path) -> Iterator[dict[str, str]]:
    """A mapping that receives the line of the program that exports each output."""
    lines: dict[str, str] = {}
    original = Stack.output

    def output(stack: Stack, name: str, value: Any) -> None:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  as in the logging module
        while frame is not None and str(name) not in lines:
            if line := source_line(frame.f_code.co_filename, frame.f_lineno, root):
                lines[str(name)] = line
            frame = frame.f_back
        original(stack, name, value)

    setattr(Stack, "output", output)  # noqa: B010  mypy accepts no other function
    try:
        yield lines
    finally:
        setattr(Stack, "output", original)  # noqa: B010


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
