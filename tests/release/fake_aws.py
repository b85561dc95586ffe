"""A fake AWS account: ECS, ECR, the invocations of Lambda, and a few calls of other services.
It also receives what the fake Pulumi CLI, Docker and cosign are run with (`fake_cli`), and the
operations of the real engine (`aws_provider`).
"""

import base64
import io
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from release.image import DEPLOYED_TAG
from release.pulumi.stack import Stack
from tests import http_servers

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "210987654321"
OLD, NEW, FAILED = (f"sha256:{letter * 64}" for letter in "abc")
_STS = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
_ROUTE53 = 'xmlns="https://route53.amazonaws.com/doc/2013-04-01/"'


@dataclass
class FakeAccount:
    """State of the account.

    folder: the project for which commands run. steps: what commands did, in order.
    definitions: containers of each task definition, by ARN. running: ARN by ECS service.
    deployments: rows of the service deployments in progress, with the ARN of the `previous` task
        definition.
    desired: number of tasks of an ECS service that `aws ecs update-service` has set.
    rolls_back: ECS keeps the previous task definition.
    migrates: the migration succeeds.
    smoke_test: status that the new version of a function returns.
    canary: result of the probe for the canary key; None if the stack has no probe.
    unhealthy: services that do not respond to the probe.
    pushed: tags of the images in the registry, by digest. signed_by: identity by image.
    zones: hosted zones: name, comment, True if private.
    secrets: versions of each secret by name; the last one is current.
    tasks: the secret versions that the running tasks of the console have, by ARN.
    rejection: error code with which AWS rejects the credentials, such as ExpiredToken; or "".
    rotates: rotations end. has_registry: the ECR repository exists.
    intercept: receives the command of the CLI or the action of ECS and its result. Returns the
        result.
    """

    url: str = ""
    folder: Path = field(default_factory=Path)
    steps: list[str] = field(default_factory=list)
    definitions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    desired: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))
    rolls_back: bool = False
    migrates: bool = True
    unhealthy: tuple[str, ...] = ()
    smoke_test: int = 200
    canary: bool | None = None
    pushed: dict[str, list[str]] = field(
        default_factory=lambda: {OLD: [f"{DEPLOYED_TAG}{'a' * 32}"]}
    )
    signed_by: dict[str, str] = field(default_factory=dict)
    platforms: str = "linux/amd64, linux/arm64"
    zones: list[tuple[str, str, bool]] = field(default_factory=list)
    vcpus: int = 1000
    secrets: dict[str, list[str]] = field(default_factory=lambda: defaultdict(lambda: ["v0"]))
    tasks: dict[str, dict[str, str]] = field(default_factory=dict)
    rejection: str = ""
    rotates: bool = True
    has_registry: bool = True
    intercept: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda call, result: result
    _time: int = 0
    _pending: str = ""

    def register(self, name: str, digest: str) -> str:
        """The ARN of the newest task definition of a family, which has an image."""
        process = name.rpartition("-")[2]
        added = {"name": "aws-guardduty-agent", "image": f"guardduty@sha256:{'d' * 64}"}
        containers = [added, {"name": process, "image": f"registry/gatehouse@{digest}"}]
        arns = self.revisions(name)
        if not arns or self.definitions[arns[-1]] != containers:
            prefix = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition"
            arns.append(f"{prefix}/{name}:{len(arns) + 1}")
            self.definitions[arns[-1]] = containers
        return arns[-1]

    def revisions(self, family: str) -> list[str]:
        return [arn for arn in self.definitions if f"/{family}:" in arn]

    def set_service(self, name: str, definition: str) -> None:
        if name not in self.running or not self.rolls_back:
            self.running[name] = definition

    def images(self) -> set[str]:
        """Digests of the images of the release that the ECS services run."""
        rows = [row for arn in self.running.values() for row in self.definitions[arn]]
        # The image of the collector is in the same repository.
        images = " ".join(row["image"] for row in rows if row["name"] != "collector")
        return set(re.findall(r"(?:gatehouse|runtime)@(sha256:\w+)", images))

    def ecs(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        match action:
            case "DescribeServices":
                names = [name for name in request["services"] if name in self.running]
                return {"services": [self._service(name) for name in names], "failures": []}
            case "UpdateService":
                self.desired[request["service"]] = request["desiredCount"]
                return {"service": {}}
            case "ListServiceDeployments":
                rows = [
                    row
                    for row in self.deployments
                    if row["serviceArn"].endswith(f"/{request['service']}")
                    and row["status"] in request["status"]
                ]
                return {"serviceDeployments": rows}
            case "StopServiceDeployment":
                return self._stop(request)
            case "ListTasks":
                assert request["serviceName"].endswith("-console")
                return {"taskArns": [*self.tasks]}
            case "DescribeTasks":
                return {
                    "tasks": [
                        {"taskArn": arn, "createdAt": float(arn.rpartition("/")[2])}
                        for arn in request["tasks"]
                    ]
                }
            case "StopTask":
                del self.tasks[request["task"]]
                self.start_task()
                return {"task": {}}
            case "ListTaskDefinitions":
                # The prefix also matches other families.
                arns = [arn for arn in self.definitions if f"/{request['familyPrefix']}" in arn]
                active = set(self.running.values())
                return {
                    "taskDefinitionArns": [
                        arn for arn in arns if (arn in active) == (request["status"] == "ACTIVE")
                    ]
                }
        assert action == "DescribeTaskDefinition", action
        containers = self.definitions[request["taskDefinition"]]
        return {"taskDefinition": {"containerDefinitions": containers}}

    def start_task(self) -> None:
        """Start a task of the console. Each task and each rotation has a time of its own."""
        self._time += 1
        current = {name: versions[-1] for name, versions in self.secrets.items()}
        self.tasks[f"arn:aws:ecs:eu-west-1:1:task/main/{self._time}"] = current

    def secrets_manager(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        versions = self.secrets[request["SecretId"]]
        if action == "RotateSecret":
            # The rotation ends later.
            self._pending = f"v{len(versions)}-{'0' * 32}"
            return {"VersionId": self._pending}
        assert action == "DescribeSecret", action
        pending, self._pending = self._pending, ""
        stages = {versions[-1]: ["AWSCURRENT"]}
        if pending and self.rotates:
            self._time += 1
            versions.append(pending)
            return {"VersionIdsToStages": {**stages, pending: ["AWSPENDING"]}}
        return {"VersionIdsToStages": stages, "LastRotatedDate": self._time}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["stopType"] == "ROLLBACK"
        arn = request["serviceDeploymentArn"]
        (row,) = [row for row in self.deployments if row["serviceDeploymentArn"] == arn]
        self.deployments.remove(row)
        name = row["serviceArn"].rpartition("/")[2]
        self.steps.append(f"stop {name}")
        self.running[name] = row["previous"]
        return {"serviceDeploymentArn": arn}

    def _service(self, name: str) -> dict[str, Any]:
        tasks = {"runningCount": self.desired[name], "desiredCount": self.desired[name]}
        primary = {
            "status": "PRIMARY",
            "taskDefinition": self.running[name],
            "rolloutState": "COMPLETED",
            "rolloutStateReason": "ECS deployment circuit breaker." if self.rolls_back else "",
            **tasks,
        }
        return {"serviceName": name, "status": "ACTIVE", "deployments": [primary], **tasks}

    def ecr(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        match action:
            case "DescribeRepositories" if self.has_registry:
                return {"repositories": [{}]}
            case "DescribeRepositories":
                return {"__type": "RepositoryNotFoundException", "message": "no repository"}
            case "GetAuthorizationToken":
                token = base64.b64encode(b"AWS:registry-password").decode()
                return {"authorizationData": [{"authorizationToken": token}]}
            case "DescribeImages":
                if tags := self.pushed.get(request["imageIds"][0]["imageDigest"]):
                    return {"imageDetails": [{"imageTags": tags}]}
                return {"__type": "ImageNotFoundException", "message": "no image"}
            case "BatchGetImage":
                media_type = "application/vnd.oci.image.manifest.v1+json"
                digest = request["imageIds"][0]["imageDigest"]
                return {"images": [{"imageManifest": digest, "imageManifestMediaType": media_type}]}
        assert action == "PutImage", action
        self.pushed.setdefault(request["imageManifest"], []).append(request["imageTag"])
        return {"image": {}}

    def aws_lambda(self, path: str, event: Mapping[str, Any]) -> dict[str, Any]:
        if "/aliases/" in path:
            return {"Name": "live", "FunctionVersion": "1"}
        if "/invocations" not in path:
            return {"State": "Active"}
        if "-probe/" in path:
            self.steps.append("invoke the probe")
            return {
                **{name: name not in self.unhealthy for name in event["services"]},
                "canary": self.canary,
            }
        self.steps.append(f"invoke {path.partition('Qualifier=')[2]}")
        return {"statusCode": self.smoke_test}

    def route53(self, path: str) -> str:
        rows = [
            f"<HostedZone><Id>/hostedzone/Z{number}</Id><Name>{name}.</Name>"
            f"<CallerReference>x</CallerReference><Config><Comment>{comment}</Comment>"
            f"<PrivateZone>{str(private).lower()}</PrivateZone></Config></HostedZone>"
            for number, (name, comment, private) in enumerate(self.zones)
        ]
        if "/hostedzone/" in path:
            return f"<GetHostedZoneResponse {_ROUTE53}>{rows[0]}</GetHostedZoneResponse>"
        name = "ListHostedZonesByNameResponse"
        return f"<{name} {_ROUTE53}><HostedZones>{''.join(rows)}</HostedZones></{name}>"

    def pulumi(self, words: list[str]) -> dict[str, Any]:
        raise NotImplementedError

    def operation(self, row: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def docker(self, words: list[str], stdin: str) -> dict[str, Any]:
        if words[:2] == ["buildx", "inspect"]:
            return {"text": f"Platforms: {self.platforms}\n"}
        if words[1] == "imagetools":
            self.steps.append(f"{words[2]} {words[-1].partition('@')[0].rpartition('/')[2]}")
            return {"code": int(words[2] == "inspect")}
        if words[0] == "login":
            self.steps.append(f"login {words[-1]} {stdin}")
            return {"text": "Login Succeeded\n"}
        self.steps.append("build")
        options = dict(itertools.pairwise(words))
        self.pushed[OLD] = [options["--tag"].rpartition(":")[2], options["--platform"]]
        Path(options["--metadata-file"]).write_text(json.dumps({"containerimage.digest": OLD}))
        return {}

    def cosign(self, words: list[str]) -> dict[str, Any]:
        options = dict(itertools.pairwise(words))
        issuer = "https://token.actions.githubusercontent.com"
        assert (words[0], options["--certificate-oidc-issuer"]) == ("verify", issuer)
        self.steps.append(f"verify {words[-1]}")
        if self.signed_by.get(words[-1]) == options["--certificate-identity"]:
            return {}
        return {"code": 1, "error": "Error: no signatures\nno matching signatures\n"}


def _succeed(event: Any, context: Any) -> dict[str, Any]:
    return {"statusCode": 200}


@dataclass(frozen=True)
class FakeStack(Stack):
    """A stack with these clients. Its Lambda client invokes `handler`, because moto runs none.

    invoked: the version and the event of each invocation.
    """

    clients: Mapping[str, Any] = field(default_factory=dict)
    handler: Callable[[Any, Any], Any] = _succeed
    invoked: list[tuple[str, Any]] = field(default_factory=list)

    def client(self, service: str, region: str = "") -> Any:
        return self if service == "lambda" else self.clients[service]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clients["lambda"], name)

    def invoke(self, *, Payload: bytes, Qualifier: str = "", **_: Any) -> dict[str, Any]:
        event = json.loads(Payload)
        self.invoked.append((Qualifier, event))
        result = self.handler(event, None)
        failed = {"FunctionError": "Unhandled"} if "errorType" in result else {}
        return {"Payload": io.BytesIO(json.dumps(result).encode()), **failed}


@contextmanager
def serving(account: FakeAccount) -> Iterator[str]:
    class Handler(http_servers.Handler):
        def do_GET(self) -> None:
            service = self.path.split("/")[1]
            if account.rejection:
                self._reject()
            elif service == "2013-04-01":
                self.respond(200, account.route53(self.path).encode())
            elif service.startswith("201"):
                self.respond_json(account.aws_lambda(self.path, {}))
            else:
                self.respond(404, b"{}")

        def do_POST(self) -> None:
            body = self.body()
            if self.path in ("/pulumi", "/docker", "/cosign"):
                self._command(*body.decode().split("\1")[:-1])
            elif self.path == "/operation":
                self.respond_json(account.operation(json.loads(body)))
            elif account.rejection:
                self._reject()
            elif self.path.startswith("/2015-03-31/"):
                event = json.loads(body) if "/invocations" in self.path else {}
                self.respond_json(account.aws_lambda(self.path, event))
            elif target := self.headers.get("X-Amz-Target"):
                service, _, action = target.rpartition(".")
                self._call(service, action, json.loads(body))
            elif b"Action=GetCallerIdentity" in body:
                self.respond(200, _STS.encode())
            else:
                self._reject("AccessDenied")

        do_PUT = do_POST

        def _command(self, stdin: str, *words: str) -> None:
            if self.path == "/pulumi":
                result = account.intercept(words[0], account.pulumi([*words]))
            elif self.path == "/docker":
                result = account.docker([*words], stdin)
            else:
                result = account.cosign([*words])
            parts = (result.get("code", 0), result.get("text", ""), result.get("error", ""))
            self.respond(200, "".join(f"{part}\1" for part in parts).encode())

        def _call(self, service: str, action: str, request: dict[str, Any]) -> None:
            if service.startswith("ServiceQuotas"):
                result: dict[str, Any] = {"Quota": {"Value": account.vcpus}}
            elif service == "secretsmanager":
                result = account.intercept(action, account.secrets_manager(action, request))
            elif "EC2Container" in service:
                handle = account.ecr if "Registry" in service else account.ecs
                result = account.intercept(action, handle(action, request))
            else:
                result = {"__type": "AccessDeniedException", "message": "denied"}
            self.respond_json(result, 400 if "__type" in result else 200)

        def _reject(self, code: str = "") -> None:
            code = code or account.rejection
            error = {"__type": code, "message": "expired"}
            if "X-Amz-Target" in self.headers:
                return self.respond_json(error, 403)
            text = f"<Error><Code>{code}</Code><Message>expired</Message></Error>"
            return self.respond(403, f"<ErrorResponse>{text}</ErrorResponse>".encode())

    with http_servers.serving(Handler) as url:
        account.url = url
        yield url
