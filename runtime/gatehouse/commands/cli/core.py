"""`gatehouse core`: runs the Core agent, which serves a directory or registers a service."""

import asyncio
import os
import re
import secrets
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.commands.agent import lease
from gatehouse.commands.agent.app import HEALTH_PATH
from gatehouse.commands.agent.lease import Registration
from gatehouse.commands.agent.tunnel import AUTHTOKEN_VARIABLE, NgrokTunnel
from gatehouse.commands.cli.common.connection import LOOPBACK, is_url, read_token
from gatehouse.commands.cli.common.options import (
    errors_of_options,
    own_parameters,
    typed_names,
    with_options,
)
from gatehouse.commands.cli.common.output import note, reject
from gatehouse.commands.cli.common.shapes import parameters, request
from gatehouse.core.cores import CoreSettings
from gatehouse.core.errors import Unavailable
from gatehouse.core.http.forwarding import CORE_NAME, CORE_NAME_FORM
from gatehouse.features.cores.schemas import (
    DRAIN_S_DEFAULT,
    DRAIN_S_MAX,
    INSTANCE,
    LEASE_S_MAX,
    LEASE_S_MIN,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the command, without those of the Core (`CoreSettings`)."""

    gateway: Annotated[
        str, typer.Option(envvar="GATEHOUSE_GATEWAY_URL", help="URL of the gateway.")
    ]
    name: Annotated[
        str, typer.Option(help="Name of the Core. The gateway serves the Core at /cores/<name>/.")
    ]
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Directory to serve. Default: the agent registers the service at --url."
        ),
    ] = None
    instance: Annotated[
        str,
        typer.Option(
            help=(
                "ID of this instance, unique among the instances of the Core. Default: a random ID."
            )
        ),
    ] = ""
    token: Annotated[
        str,
        typer.Option(
            envvar="GATEHOUSE_CORE_TOKEN",
            show_envvar=True,
            help="API key with the scope cores:register; `-` reads the key from standard input. "
            "Prefer the environment variable: other users of this machine can read command lines.",
        ),
    ] = field(default="", repr=False)
    url: Annotated[
        str,
        typer.Option(
            help="URL at which the gateway reaches this Core. Default: the listening address."
        ),
    ] = ""
    url_file: Annotated[
        Path | None,
        typer.Option(
            help="File that contains the URL of this Core. The agent reads the file before every "
            "heartbeat. Use this option for a tunnel whose address changes."
        ),
    ] = None
    ngrok: Annotated[
        bool,
        typer.Option(
            "--ngrok",
            help=(
                f"Open an ngrok tunnel and register the tunnel URL. Requires {AUTHTOKEN_VARIABLE}."
            ),
        ),
    ] = False
    ngrok_domain: Annotated[
        str,
        typer.Option(help="With --ngrok: domain of the tunnel. Default: ngrok chooses a domain."),
    ] = ""
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free port.")
    ] = 0
    ttl: Annotated[
        int,
        typer.Option(
            min=LEASE_S_MIN,
            max=LEASE_S_MAX,
            help=(
                "Duration of the lease in seconds. The agent renews the lease after a third "
                "of this duration."
            ),
        ),
    ] = 30
    drain_timeout: Annotated[
        int,
        typer.Option(
            min=0,
            max=DRAIN_S_MAX,
            help="Time in seconds after SIGTERM until the gateways close the WebSockets, and with "
            "--dir the maximum time for requests in progress to complete.",
        ),
    ] = DRAIN_S_DEFAULT


_PARAMETERS = [*own_parameters(Options), *parameters(CoreSettings)]


def register(app: typer.Typer) -> None:
    app.command(name="core")(with_options(core, _PARAMETERS))


def core(**arguments: Any) -> None:
    """Serve a directory through the gateway until SIGTERM or Ctrl-C, or register a service. The
    agent serves files only to the gateway. A service has to accept requests only from the gateway.

    After SIGTERM, the agent drains the instance and stops. With --dir, it completes the requests in
    progress first; a service with --url has to complete its own.

    GET /files lists the directory, and GET /files/<path> returns a file. Files and directories
    whose names begin with a dot, symbolic links, devices, FIFOs and sockets are not served.

    Example: gatehouse core --gateway http://127.0.0.1:8080 --name docs --dir .
    """
    options = Options(**{each.name: arguments.pop(each.name) for each in fields(Options)})
    settings, directory = arguments, options.directory
    _check(options)
    if directory is not None:
        for option in ("forward_authorization", "credential_header"):
            if settings[option]:
                reject(f"--dir and --{option.replace('_', '-')} are mutually exclusive")
        settings["health_path"] = settings["health_path"] or HEALTH_PATH
    tunnel = _tunnel(options) if options.ngrok else None
    secret = read_token(options.token, "GATEHOUSE_CORE_TOKEN")
    sock = None if directory is None else lease.open_socket(options.bind, options.port)

    def current_url() -> str:
        if options.url_file:
            return _from_file(options.url_file)
        return (lease.origin(sock) if sock and not options.url else options.url).rstrip("/")

    registration = Registration(
        options.gateway.rstrip("/"),
        secret,
        options.name,
        options.instance or secrets.token_hex(4),
        options.ttl,
        options.drain_timeout,
        current_url,
        request(settings),
    )
    with errors_of_options(typed_names(_PARAMETERS)):
        if directory is None or sock is None:
            asyncio.run(lease.register(registration, note))
        else:
            asyncio.run(lease.run(directory, sock, registration, note, tunnel))


def _tunnel(options: Options) -> NgrokTunnel:
    if options.url or options.url_file:
        reject("--ngrok, --url and --url-file are mutually exclusive")
    authtoken = os.environ.get(AUTHTOKEN_VARIABLE, "").strip()
    if not authtoken:
        reject(
            f"--ngrok requires the environment variable {AUTHTOKEN_VARIABLE}. Copy the authtoken "
            "from https://dashboard.ngrok.com/get-started/your-authtoken"
        )
    return NgrokTunnel(authtoken, options.ngrok_domain)


def _check(options: Options) -> None:
    directory, url, url_file = options.directory, options.url, options.url_file
    if directory is None and not (url or url_file):
        reject("use --dir to serve a directory, or --url to register a service")
    if directory is not None and not directory.is_dir():
        reject(f"--dir {directory} is not a directory")
    if not CORE_NAME.fullmatch(options.name):
        reject(f"--name must be {CORE_NAME_FORM}")
    _check_url("--gateway", options.gateway)
    if url and url_file:
        reject("--url and --url-file are mutually exclusive")
    if url:
        _check_url("--url", url)
    elif url_file is None and not options.ngrok and options.bind not in LOOPBACK:
        bind = f"--bind {options.bind}"
        reject(f"{bind} requires --url, the URL at which the gateway reaches this Core")
    if options.instance and not re.fullmatch(INSTANCE[0], options.instance):
        reject(f"--instance must be {INSTANCE[1]}")


def _from_file(path: Path) -> str:
    """Reads the URL. Raises Unavailable, after which the agent retries, because a tunnel may still
    be writing the file.
    """
    try:
        lines = path.read_text().split()
    except (OSError, UnicodeDecodeError) as exc:
        raise Unavailable(f"--url-file {path} cannot be read ({type(exc).__name__})") from exc
    if len(lines) != 1 or not is_url(lines[0]):
        raise Unavailable(
            f"--url-file {path} must contain one URL such as https://docs.example.com"
        )
    return lines[0].rstrip("/")


def _check_url(option: str, value: str) -> None:
    if not is_url(value):
        reject(f"{option} must be a URL such as https://gateway.example.com")
