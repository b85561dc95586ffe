"""AWS on this machine: each resource is really created in a moto server, by the row of its type."""

import logging
import socket
import threading
from collections.abc import Callable, Collection
from typing import Any

import boto3
from botocore.config import Config
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer

from sandbox.emulator import moto_patches
from sandbox.emulator.iam_enforcement import OPERATOR, Permissions
from sandbox.emulator.resources import ROWS, Make, create
from sandbox.engine.invokes import invoke
from sandbox.engine.providers import ACCOUNT, PROVIDER_PREFIX, ProviderSettings
from sandbox.engine.types import Registration
from sandbox.errors import SandboxError

HOST = "127.0.0.1"

_ONE_AT_A_TIME = threading.Lock()
_EVERYTHING = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


class Emulator:
    """A `Cloud` over a moto server in this process; moto's state is one per process, so it is one at a time.

    endpoint: what AWS_ENDPOINT_URL should be. modelled: the types that were asked for and not really created, each
    with the reason. stripped_conditions, used_actions: see `Permissions`.
    """

    def __init__(self, server: ThreadedMotoServer, permissions: Permissions) -> None:
        host, port = server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.account = ACCOUNT
        self.modelled: list[str] = []
        self.permissions = permissions
        self._server = server
        self._providers = ProviderSettings(ACCOUNT)
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.RLock()
        self._acting: tuple[Callable[[str, str], Any], frozenset[str]] | None = None
        self._restore = (permissions.install(), moto_patches.install())
        self._credentials = self._operator()
        # One session for all clients: it keeps the service models it has parsed.
        self._session: Any = boto3.session.Session(*self._credentials)

    @classmethod
    def start(cls, port: int | None = None) -> "Emulator":
        """Start empty, on a free port unless one is given. SandboxError for a taken port or a second emulator."""
        if port:
            _refuse_taken(port)
        if not _ONE_AT_A_TIME.acquire(blocking=False):
            raise SandboxError("An emulator already runs in this process; stop it first.")
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        # moto would run Lambda code in Docker containers; the sandbox runs handlers itself.
        default_user_config["lambda"]["use_docker"] = False
        server = ThreadedMotoServer(ip_address=HOST, port=port or 0, verbose=False)
        try:
            server.start()
            permissions = Permissions(ACCOUNT)
            permissions.enforce(False)
            _reset()
            return cls(server, permissions)
        except BaseException:
            _ONE_AT_A_TIME.release()
            raise

    def stop(self) -> None:
        """Stop the server and forget everything; calling it again does nothing."""
        if self._server._server is None:
            return
        self.permissions.enforce(False)
        for restore in self._restore:
            restore()
        self._server.stop()
        self._server._server.server_close()
        self._server._server = None
        _reset()
        _ONE_AT_A_TIME.release()

    @property
    def credentials(self) -> tuple[str, str]:
        """Access key id and secret of the operator, which work under enforcement too; worth nothing elsewhere."""
        return self._credentials

    @property
    def stripped_conditions(self) -> list[str]:
        return self.permissions.stripped_conditions

    @property
    def used_actions(self) -> dict[str, set[str]]:
        """Role name to the IAM actions it was seen to use under enforcement."""
        return self.permissions.used_actions

    def enforce_iam(self, on: bool) -> None:
        """Check every call against the caller's identity policies, or stop doing so."""
        self.permissions.enforce(on)

    def client(self, service: str, region: str) -> Any:
        """A boto3 client of this emulator, as the operator; one per service and region."""
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._session.client(service, region_name=region, endpoint_url=self.endpoint, config=_CONFIG)
            return self._clients[key]

    def act_as(self, role: str, *, unless: Collection[str] = ()) -> None:
        """From now on resources are created with the credentials of this role (an ARN), and IAM is enforced; those whose type is
        in `unless` still by the operator."""
        keys = self.client("sts", "us-east-1").assume_role(RoleArn=role, RoleSessionName="sandbox")["Credentials"]
        session: Any = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        clients: dict[tuple[str, str], Any] = {}

        def client(service: str, region: str) -> Any:
            if (service, region) not in clients:
                clients[service, region] = session.client(service, region_name=region, endpoint_url=self.endpoint, config=_CONFIG)
            return clients[service, region]

        self._acting = (client, frozenset(unless))
        self.enforce_iam(True)

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Create one resource. SandboxError for a type without a row, a refused input, an input that nothing uses."""
        with self._lock:
            if registration.type.startswith(PROVIDER_PREFIX):
                if registration.type != f"{PROVIDER_PREFIX}aws":
                    raise SandboxError(f"{registration.urn}: the emulator is AWS only; it has no provider {registration.type}.")
                return self._providers.declare(registration)
            row = ROWS.get(registration.type)
            if row is None:
                raise SandboxError(
                    f"{registration.urn}: the emulator has no row for the resource type {registration.type}. "
                    "Add one to sandbox/emulator/resources/, or leave the resource out of this stack."
                )
            if registration.import_id:
                raise SandboxError(
                    f"{registration.urn}: the emulator starts empty: there is no {registration.import_id!r} to read or import."
                )
            make = Make(
                registration,
                region=self._providers.region(registration),
                account=self.account,
                tags=self._providers.tags(registration),
                client=self.client if self._acting is None or registration.type in self._acting[1] else self._acting[0],
            )
            made = create(row, make)
            if row.modelled:
                note = f"{registration.type}: {row.modelled}"
                if note not in self.modelled:
                    self.modelled.append(note)
            return made

    def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
        """Answer a provider function; SandboxError for one that has no answer here."""
        return invoke(token, args, self.account)

    def _operator(self) -> tuple[str, str]:
        iam: Any = boto3.client(
            "iam",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",  # noqa: S106  any value will do before there is a user
            config=_CONFIG,
        )  # fmt: skip
        iam.create_user(UserName=OPERATOR)
        iam.put_user_policy(UserName=OPERATOR, PolicyName="everything", PolicyDocument=_EVERYTHING)
        key = iam.create_access_key(UserName=OPERATOR)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]


_CONFIG = Config(
    s3={"addressing_style": "path"},
    retries={"max_attempts": 0},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=4,
)


def _reset() -> None:
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise SandboxError(
                f"Port {port} is taken, so the AWS emulator cannot listen on it. Stop what uses it, or choose another."
            ) from exc
