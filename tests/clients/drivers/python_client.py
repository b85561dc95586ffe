"""Driver of the Python clients: `python_client.py sync`, or `async`. Reads a call from each line of
standard input, and writes its outcome as a line of JSON (tests/clients/behaviour.py).
"""

import asyncio
import io
import json
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gatehouse_client import (
    ApiError,
    AsyncConsoleClient,
    AsyncGatewayClient,
    ConsoleClient,
    GatewayClient,
    Retries,
    asgi,
    wsgi,
)
from gatehouse_client.models import ChangedKey
from gatehouse_client.signing import sign

Call = dict[str, Any]
Outcome = dict[str, Any]
#: In the place of the service: the response of an allowed request.
ALLOWED = b"allowed"


def options_of(call: Call) -> dict[str, Any]:
    options = dict(call.get("options", {}))
    for name in ("timeout", "response_timeout"):
        if f"{name}_ms" in options:
            options[f"{name}_s"] = options.pop(f"{name}_ms") / 1000
    return options


def decided(result: Any) -> Outcome:
    headers = {name.lower(): value for name, value in result.headers.items()}
    outcome = {"raised": False, "headers": headers, "undecided": bool(result.error)}
    if hasattr(result, "allowed"):
        return outcome | {"allowed": result.allowed}
    return outcome | {
        "valid": result.valid,
        "code": result.code,
        "status": result.status,
        "customer": result.customer_id,
    }


def signed(method: str, url: str, body: str, token: str, private_key: str) -> Outcome:
    headers = sign(method, url, body.encode(), token=token, private_key=private_key)
    return {"raised": False, "headers": headers}


def responded(status: int, headers: dict[str, str], body: bytes) -> Outcome:
    document = None if body == ALLOWED else json.loads(body)
    lower = {name.lower(): value for name, value in headers.items()}
    return {"raised": False, "status": status, "headers": lower, "document": document}


class Synchronous:
    def __init__(self, log: Callable[[object], None]) -> None:
        self._log = log

    def run(self, call: Call) -> Outcome:
        if call["operation"] == "console":
            return self._console(call)
        if call["operation"] == "sign":
            return signed(**call["arguments"])
        options = options_of(call)
        with GatewayClient(call["url"], **options) as gateway:
            self._log(gateway)
            arguments = call["arguments"]
            result: Any
            match call["operation"]:
                case "verify":
                    result = gateway.verify(**arguments)
                case "take":
                    result = gateway.take_all(arguments["takes"], dry_run=arguments["dry_run"])
                case "guard":
                    return self._guard(gateway, **arguments)
                case "burst":
                    count = arguments["count"]
                    with ThreadPoolExecutor(min(count, 400)) as pool:
                        codes = pool.map(lambda _: gateway.verify("a").code, range(count))
                        return {"raised": False, "codes": Counter(codes)}
                case other:
                    raise NotImplementedError(other)
            self._log(result)
            return decided(result)

    def _guard(
        self,
        gateway: GatewayClient,
        method: str,
        headers: list[list[str]],
        scopes: list[str],
        address: str,
    ) -> Outcome:
        started: list[Any] = []
        names: dict[str, str] = {}
        for name, value in headers:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            names[key] = f"{names[key]},{value}" if key in names else value
        environ = {"REQUEST_METHOD": method, "REMOTE_ADDR": address, **names}

        def service(_: Any, start: Any) -> list[bytes]:
            start("200 OK", [])
            return [ALLOWED]

        app = wsgi.KeyMiddleware(service, gateway, scopes)
        start: Any = lambda *each: started.append(each)  # noqa: E731 - a callable of WSGI
        body = b"".join(app(environ, start))
        status, fields = started[0][:2]
        return responded(int(status[:3]), dict(fields), body)

    def _console(self, call: Call) -> Outcome:
        retries = Retries(wait_s=0.001)
        with ConsoleClient(call["url"], call["token"], retries=retries) as console:
            self._log(console)
            method, arguments = call["method"], call["arguments"]
            if method in ("keys", "customers"):
                ids = [item.id for item in getattr(console, method)(**arguments)]
                return {"raised": False, "ids": ids}
            if method == "delete_key":
                path = f"/v1/keys/{arguments['key_id']}"
                result: Any = console.call(
                    ChangedKey, "DELETE", path, {"reason": arguments["reason"]}
                )
            else:
                result = getattr(console, method)(**arguments)
            self._log(result)
            return {"raised": False}


class Asynchronous:
    def __init__(self, log: Callable[[object], None]) -> None:
        self._log = log

    def run(self, call: Call) -> Outcome:
        return asyncio.run(self._run(call))

    async def _run(self, call: Call) -> Outcome:
        if call["operation"] == "console":
            return await self._console(call)
        if call["operation"] == "sign":
            return signed(**call["arguments"])
        async with AsyncGatewayClient(call["url"], **options_of(call)) as gateway:
            self._log(gateway)
            arguments = call["arguments"]
            result: Any
            match call["operation"]:
                case "verify":
                    result = await gateway.verify(**arguments)
                case "take":
                    result = await gateway.take_all(
                        arguments["takes"], dry_run=arguments["dry_run"]
                    )
                case "guard":
                    return await self._guard(gateway, **arguments)
                case "burst":
                    calls = (gateway.verify("a") for _ in range(arguments["count"]))
                    codes = Counter(result.code for result in await asyncio.gather(*calls))
                    return {"raised": False, "codes": codes}
                case other:
                    raise NotImplementedError(other)
            self._log(result)
            return decided(result)

    async def _guard(
        self,
        gateway: AsyncGatewayClient,
        method: str,
        headers: list[list[str]],
        scopes: list[str],
        address: str,
    ) -> Outcome:
        sent: list[Any] = []
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        scope = {"type": "http", "method": method, "headers": fields, "client": (address, 1)}

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        async def service(_: Any, __: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": ALLOWED})

        await asgi.KeyMiddleware(service, gateway, scopes)(scope, receive, send)
        received = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return responded(sent[0]["status"], received, sent[1]["body"])

    async def _console(self, call: Call) -> Outcome:
        retries = Retries(wait_s=0.001)
        async with AsyncConsoleClient(call["url"], call["token"], retries=retries) as console:
            self._log(console)
            method, arguments = call["method"], call["arguments"]
            if method in ("keys", "customers"):
                ids = [item.id async for item in getattr(console, method)(**arguments)]
                return {"raised": False, "ids": ids}
            if method == "delete_key":
                path = f"/v1/keys/{arguments['key_id']}"
                result: Any = await console.call(
                    ChangedKey, "DELETE", path, {"reason": arguments["reason"]}
                )
            else:
                result = await getattr(console, method)(**arguments)
            self._log(result)
            return {"raised": False}


def main() -> None:
    logs = io.StringIO()
    logging.basicConfig(level=logging.INFO, stream=logs)
    kinds: dict[str, type[Synchronous | Asynchronous]] = {
        "sync": Synchronous,
        "async": Asynchronous,
    }
    client = kinds[sys.argv[1]](lambda value: print(repr(value), file=logs))
    for line in sys.stdin:
        logs.seek(0)
        logs.truncate()
        try:
            outcome = client.run(json.loads(line))
        except NotImplementedError as exc:
            outcome = {"missing": str(exc)}
        except (ApiError, ValueError, TypeError) as exc:
            traceback.print_exc(file=logs)
            outcome = {"raised": True, "status": getattr(exc, "status", 0), "code": ""}
        print(json.dumps(outcome | {"texts": logs.getvalue()}), flush=True)


if __name__ == "__main__":
    main()
