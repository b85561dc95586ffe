"""`Emulator`: a provider that creates resources in a moto server, as `RESOURCE_TYPES` defines."""

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from pulumi_local.aws_location import AwsLocation
from pulumi_local.engine.update import AwsRules
from pulumi_local.outputs.lookup_results import invoke
from pulumi_local.outputs.providers import PROVIDER_PREFIX, ProviderConfigs
from pulumi_local.type_tokens import by_token
from pulumi_local.types import ACCOUNT, Registration, Resource
from werkzeug.serving import make_server

from sandbox.emulator import changes, moto_patches, sessions
from sandbox.emulator.iam_enforcement import OPERATOR, Permissions
from sandbox.emulator.request import ChangeRequest, CreateRequest
from sandbox.emulator.resource_type import create
from sandbox.emulator.resources import RESOURCE_TYPES
from sandbox.errors import SandboxError
from sandbox.ports import HOST, is_free, is_from_page

_CONFIG = Config(
    s3={"addressing_style": "path"},
    retries={"max_attempts": 0},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=4,
    # botocore would build its header twice for each call, in a sixth of the time of the call
    user_agent="gatehouse-sandbox",
)
_SIGNED_FOR = re.compile(r"Credential=[^/]+/[0-9]{8}/([a-z0-9-]+)/")
#: The function that reads an existing subnet (components/network/vpc.py).
SUBNET = by_token({"ec2.getSubnet": None})
_SINGLE_EMULATOR = threading.Lock()
#: `stop` waits at most this time for the thread that accepts connections.
_POLL_S = 0.05

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_ADMINISTRATOR_POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
)


class Emulator(AwsRules):
    """A `Provider` with a moto server in this process. Only one emulator can run at a time, because
    moto stores its state per process.

    endpoint: value for AWS_ENDPOINT_URL. modelled: resource types that were validated and not
    created, each with the reason. permissions: evaluates IAM policies; off until
    `permissions.enforce(True)`.
    lost_regions: regions in which every request fails, as during the loss of a region.
    """

    def __init__(self, server: "_Server", permissions: Permissions, lost_regions: set[str]) -> None:
        self.endpoint = f"http://{HOST}:{server.port}"
        self.modelled: list[str] = []
        self._scopes: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.permissions = permissions
        self.lost_regions = lost_regions
        self._server: _Server | None = server
        self._providers = ProviderConfigs(account=ACCOUNT)
        self._lock = threading.RLock()
        self._restore = moto_patches.install(permissions.authorize)
        self.credentials = self._create_operator()
        """Access key ID and secret of the operator, for whom every call is allowed."""
        self.client = self.clients(*self.credentials)
        """Returns a boto3 client for a service and a region, with the credentials of the
        operator.
        """

    @classmethod
    def start(cls, port: int | None = None) -> "Emulator":
        """Start an empty emulator, on a free port by default. Raises SandboxError for a port in use
        or a second emulator.
        """
        if port and not is_free(port):
            raise SandboxError(
                f"Port {port} is in use, so the AWS emulator cannot listen on it. "
                "Stop the process that uses it, or choose another port."
            )
        if not _SINGLE_EMULATOR.acquire(blocking=False):
            raise SandboxError("An emulator already runs in this process; stop it first.")
        # moto runs Lambda functions in Docker; the sandbox runs the handlers itself.
        default_user_config["lambda"]["use_docker"] = False
        # No stack has instances. moto would create 1,300 images with snapshots in each region.
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        lost_regions: set[str] = set()
        with ExitStack() as failed:
            failed.callback(_SINGLE_EMULATOR.release)
            server = _Server(port or 0, lost_regions)
            failed.callback(server.stop)
            permissions = Permissions()
            permissions.enforce(False)
            _reset()
            emulator = cls(server, permissions, lost_regions)
            failed.pop_all()
        return emulator

    def stop(self) -> None:
        if self._server is None:
            return
        self.permissions.enforce(False)
        self._server.stop()
        self._server = None
        _reset()
        self._restore()
        _SINGLE_EMULATOR.release()

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Create one resource.

        Raises SandboxError for a type that is not emulated, for a resource to read or import, and
        for inputs that are invalid or unused.
        """
        with self._lock:
            if registration.type.startswith(PROVIDER_PREFIX):
                if registration.type != f"{PROVIDER_PREFIX}aws":
                    raise SandboxError(
                        f"{registration.urn}: the emulator supports the AWS provider only, not "
                        f"{registration.type}."
                    )
                return self._providers.create(registration)
            resource_type = RESOURCE_TYPES.get(registration.type)
            if resource_type is None:
                raise SandboxError(
                    f"{registration.urn}: the resource type {registration.type} is not emulated. "
                    "Add it to sandbox/emulator/resources/, or remove the resource from "
                    "this stack."
                )
            if registration.import_id:
                raise SandboxError(
                    f"{registration.urn}: the emulator starts without resources, so the program "
                    f"can neither read nor import {registration.import_id!r}. Create the "
                    f"resource in the stack."
                )
            request = CreateRequest(
                registration,
                region=self._providers.location(registration).region,
                tags=self._providers.tags(registration),
                client=self.client,
            )
            created = create(resource_type, request)
            self._scopes[registration.type, created[0]] = request.scope
            if resource_type.modelled:
                note = f"{registration.type}: {resource_type.modelled}"
                if note not in self.modelled:
                    self.modelled.append(note)
            return created

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        """Change one resource. Raises NotUpdatable if moto cannot, and SandboxError for invalid
        inputs.
        """
        with self._lock:
            request = self._change_request(old, registration, changed)
            before = request.scope
            changed_resource = changes.update(RESOURCE_TYPES[registration.type], request)
            self._scopes[registration.type, old.id] = {**before, **request.scope}
            return changed_resource

    def delete(self, resource: Resource) -> None:
        with self._lock:
            request = self._change_request(
                resource, replace(resource.registration, inputs={}), frozenset()
            )
            changes.delete(RESOURCE_TYPES[resource.registration.type], request)
            self._scopes.pop((resource.registration.type, resource.id), None)

    def _change_request(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> ChangeRequest:
        resource_type = RESOURCE_TYPES[registration.type]
        return ChangeRequest(
            old,
            registration,
            region=str(
                old.outputs.get("region") or self._providers.location(old.registration).region
            ),
            tags=self._providers.tags(registration),
            client=self.client,
            scope=self._scopes.get((old.registration.type, old.id), {}),
            changed=changed,
            service=resource_type.service or resource_type.call.partition(".")[0],
        )

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the result of a provider function. Raises SandboxError for an unsupported
        function, and for a subnet that does not exist.
        """
        location = AwsLocation.of(provider)
        if token not in SUBNET:
            return invoke(token, args, location)
        client, subnet_id = self.client("ec2", location.region), str(args.get("id"))
        matching = [{"Name": "subnet-id", "Values": [subnet_id]}]
        subnets = client.describe_subnets(Filters=matching)["Subnets"]
        if not subnets:
            raise SandboxError(f"{subnet_id} does not exist in {location.region}.")
        return {"id": subnet_id, "cidrBlock": subnets[0]["CidrBlock"]}

    def clients(
        self, key_id: str, secret: str, token: str | None = None
    ) -> Callable[[str, str], Any]:
        """A function that returns the client of a service and a region. Clients are created
        once.
        """
        credentials = {
            "aws_access_key_id": key_id,
            "aws_secret_access_key": secret,
            "aws_session_token": token,
        }
        clients: dict[tuple[str, str], Any] = {}

        def client(service: str, region: str) -> Any:
            with self._lock:
                if (service, region) not in clients:
                    options = {
                        "region_name": region,
                        "endpoint_url": self.endpoint,
                        "config": _CONFIG,
                        **credentials,
                    }
                    clients[service, region] = sessions.client(service, **options)
                return clients[service, region]

        return client

    def _create_operator(self) -> tuple[str, str]:
        # Credentials are not checked before the first user exists.
        iam = self.clients("sandbox", "sandbox")("iam", "us-east-1")
        iam.create_user(UserName=OPERATOR)
        iam.put_user_policy(
            UserName=OPERATOR, PolicyName="administrator", PolicyDocument=_ADMINISTRATOR_POLICY
        )
        key = iam.create_access_key(UserName=OPERATOR)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]


class _Server:
    """moto's HTTP server on a port of this machine, which may be 0 for any port."""

    def __init__(self, port: int, lost_regions: set[str]) -> None:
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        application = _restricted(lost_regions, DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            HOST, port, application, threaded=True, request_handler=MotoRequestHandler
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


def _reset() -> None:
    BackendDict.reset()
    reset_model_data()


def _restricted(lost_regions: set[str], application: Application) -> Application:
    """Reject requests from a web page, requests to moto's own API, which resets and configures the
    emulator, and requests that are signed for a lost region.
    """

    def restricted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        from_page = is_from_page(lambda name: environ.get(f"HTTP_{name}".upper().replace("-", "_")))
        if from_page or environ.get("PATH_INFO", "").startswith("/moto-api"):
            body = b"The emulator accepts requests only from AWS clients on this machine.\n"
            start_response(
                "403 Forbidden",
                [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
            )
            return [body]
        signed_for = _SIGNED_FOR.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed_for and signed_for[1] in lost_regions:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
        return application(environ, start_response)

    return restricted
