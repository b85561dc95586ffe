"""Serves a policy pack on standard input and output: `python pack_server.py <folder of the pack>`.

A script without imports of this distribution, because a pack can have an interpreter of its own.
The SDK starts a gRPC server, whose messages take a third of the CPU time of a check. `Server`
replaces it, also for a pack in the process of the check.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

import grpc

_METHOD = "/pulumirpc.Analyzer/"


class _Started(BaseException):
    """The pack has started its server. It would wait for the end of the process."""


class _Context:
    """What a handler learns about its call."""

    code: Any = None

    def set_code(self, code: Any) -> None:
        self.code = code

    def set_details(self, _details: str) -> None:
        pass


class _Call:
    def __init__(self, method: str) -> None:
        self.method = method


class Server:
    """Takes the place of `grpc.Server`, and calls its handlers."""

    def __init__(self) -> None:
        self._handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Other access to the same handlers, with later versions of gRPC."""

    def add_insecure_port(self, address: str) -> int:
        del address
        return 0

    def start(self) -> None:
        raise _Started

    def answer(self, method: str, requests: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """Call a method with one message after another. Returns the sizes of the answers and the
        answers, or an error if a handler raises an exception.
        """
        found = (each.service(_Call(_METHOD + method)) for each in self._handlers)
        handler = next((each for each in found if each), None)
        if handler is None:
            return {"unimplemented": True}, []
        messages: list[bytes] = []
        for request in requests:
            context = _Context()
            try:
                result = handler.unary_unary(handler.request_deserializer(request), context)
            except Exception as error:
                failed = {"error": str(error), "request": len(messages)}
                return failed | {"unimplemented": context.code is not None}, []
            messages.append(handler.response_serializer(result))
        return {"sizes": list(map(len, messages))}, messages


def started(start: Callable[[], object]) -> Server:
    """The server of a pack. start: the code of the pack, which constructs a `PolicyPack`."""
    server, original = Server(), grpc.server
    setattr(grpc, "server", lambda *_args, **_options: server)  # noqa: B010  mypy
    try:
        start()
    except _Started:
        pass
    finally:
        setattr(grpc, "server", original)  # noqa: B010
    return server


def _serve(server: Server, calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until the input ends. A call is a line of JSON with the method and the sizes of
    the messages that follow. So is its answer.
    """
    for line in calls:
        method, sizes = json.loads(line)
        answer, messages = server.answer(method, [calls.read(size) for size in sizes])
        answers.write(json.dumps(answer).encode() + b"\n" + b"".join(messages))
        answers.flush()


def main(folder: str) -> None:
    """Run the pack as the Python language host does (pulumi-language-python/main.go, RunPlugin).
    What the pack prints goes to standard error, and it reads no input.
    """
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    # The pack only parses the address of the engine (pulumi/policy/__main__.py).
    sys.argv = ["pulumi.policy", "127.0.0.1:0", folder]
    pack = started(lambda: runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True))
    _serve(pack, calls, answers)


if __name__ == "__main__":
    main(sys.argv[1])
