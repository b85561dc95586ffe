"""Serves a policy pack on standard input and output: `python pack_server.py <folder of the pack>`.

A script without imports of this distribution, because a pack can have an interpreter of its own.
The SDK starts a gRPC server, whose messages take a third of the CPU time of a check. This script
replaces it.
"""

import json
import os
import runpy
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

import grpc

_METHOD = "/pulumirpc.Analyzer/"


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


class _Server:
    """Takes the place of `grpc.Server`. A call is a line of JSON with the method and the sizes of
    the messages that follow. So is its answer, with an error instead of messages if a handler
    raised an exception.
    """

    def __init__(self, calls: BinaryIO, answers: BinaryIO) -> None:
        self._calls = calls
        self._answers = answers
        self._handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Other access to the same handlers, with later versions of gRPC."""

    def add_insecure_port(self, address: str) -> int:
        del address
        return 0

    def start(self) -> None:
        """Answer calls until the input ends."""
        for line in self._calls:
            method, sizes = json.loads(line)
            answer, messages = self._answer(method, [self._calls.read(size) for size in sizes])
            self._answers.write(json.dumps(answer).encode() + b"\n" + b"".join(messages))
            self._answers.flush()
        sys.exit()

    def _answer(self, method: str, requests: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
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


def main(folder: str) -> None:
    """Run the pack as the Python language host does (pulumi-language-python/main.go, RunPlugin).
    What the pack prints goes to standard error, and it reads no input.
    """
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    server = _Server(calls, answers)
    setattr(grpc, "server", lambda *_args, **_options: server)  # noqa: B010  mypy
    # The pack only parses the address of the engine (pulumi/policy/__main__.py).
    sys.argv = ["pulumi.policy", "127.0.0.1:0", folder]
    runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
