"""`gatehouse serve`, `health` and `version`. The container runs its health check often, so this
module imports little.
"""

import os
import platform
import ssl
import urllib.request
from enum import StrEnum
from typing import Annotated

import typer

from gatehouse import __version__
from gatehouse.commands.cli.output import JsonOption, print_json, reject, stop

TIMEOUT_S = 3.0


class Service(StrEnum):
    GATEWAY = "gateway"
    CONSOLE = "console"
    SHARING = "sharing"


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(health)
    app.command()(version)


def serve(
    services: Annotated[
        list[Service],
        typer.Argument(help="Services to run: gateway, console, sharing, or several of them."),
    ],
) -> None:
    """Run one or more services until SIGTERM or Ctrl-C.

    Configuration is read from GATEHOUSE_* environment variables. If a variable is invalid, an error
    names the variable and no service starts.

    Example: gatehouse serve gateway
    """
    # Imports the server, which a health check does not need.
    from gatehouse.platform import supervisor
    from gatehouse.platform.settings import load

    settings = load()
    supervisor.serve(tuple(service.value for service in dict.fromkeys(services)), settings)


def health(
    services: Annotated[
        list[Service],
        typer.Argument(help="Services to check: gateway, console, sharing, or several of them."),
    ],
) -> None:
    """Check the liveness of services on this machine. Exits with code 0 if every /healthz endpoint
    returns 200, otherwise with code 1.

    Example: gatehouse health gateway
    """
    for service in services:
        _check(service, _port(service))
    print("healthy")


def _port(service: Service) -> int:
    text = os.environ.get(f"GATEHOUSE_{service.upper()}_PORT")
    if not text:
        # Takes longer to import than all other modules of a health check.
        from gatehouse.platform.settings import Settings

        text = str(Settings.model_fields[f"{service}_port"].default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        reject(f"GATEHOUSE_{service.upper()}_PORT must be a port from 1 to 65535")
    return int(text)


def _check(service: Service, port: int) -> None:
    # The service runs on this machine: the proxy settings in the environment are ignored, and its
    # certificate is not validated.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    scheme = "http" if (os.environ.get("GATEHOUSE_TLS") or "off") == "off" else "https"
    try:
        with opener.open(f"{scheme}://127.0.0.1:{port}/healthz", timeout=TIMEOUT_S) as response:
            status = response.status
    except urllib.error.HTTPError as exc:
        status = exc.code
    except OSError as exc:
        stop(
            f"{service}: no response from 127.0.0.1:{port} ({getattr(exc, 'reason', None) or exc})"
        )
    if status != 200:
        stop(f"{service}: /healthz on 127.0.0.1:{port} returned {status}")


def version(as_json: JsonOption = False) -> None:
    """Print the versions of Gatehouse and Python.

    Example: gatehouse version --json
    """
    versions = {"gatehouse": __version__, "python": platform.python_version()}
    if as_json:
        print_json(versions)
    else:
        print(" ".join(f"{name} {value}" for name, value in versions.items()))
