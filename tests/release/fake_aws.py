"""A fake AWS account, Pulumi CLI and Docker."""

import base64
import io
import itertools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from gatehouse_policies.program.types import UNKNOWN

from release.__main__ import main
from release.image import DEPLOYED_TAG
from sandbox.emulator.server import Emulator
from sandbox.emulator.sessions import session
from tests import http_servers, processes
from tests.release import fake_engine

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "210987654321"
OLD, NEW, FAILED = (f"sha256:{letter * 64}" for letter in "abc")
SERVICES = ("gateway", "console")
LOCK = {
    "pid": 4711,
    "username": "ada",
    "hostname": "laptop",
    "timestamp": "2026-01-02T03:04:05.678+01:00",
}
# The commands run hundreds of times. An interpreter would take half of the CPU time of the tests.
_CLI = r"""#!/bin/bash
LC_ALL=C
if [ "COMMAND $1" = "pulumi version" ]; then echo v3.300.0; exit; fi
for word; do if [ "$word" = --password-stdin ]; then stdin=$(</dev/stdin); fi; done
body=$(printf '%s\1' "$stdin" "$@")
exec 3<>/dev/tcp/HOST/PORT
printf 'POST /COMMAND HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
for part in code text error; do IFS= read -r -d $'\1' "$part" <&3; done
printf %s "$text"
printf %s "$error" >&2
exit "$code"
"""
_GH = """#!/bin/bash
case "$2" in
*/deployment-branch-policies) echo branch main ;;
*/environments/*) echo branch_policy ;;
*/branches/main) echo true ;;
*) exit 1 ;;
esac
"""
_IDENTITY = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{ACCOUNT}:user/x</Arn><UserId>x</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


_NO_ZONES = b"""<ListHostedZonesByNameResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZones/>
<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListHostedZonesByNameResponse>"""

_ZONE = b"""<GetHostedZoneResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZone><Id>/hostedzone/Z1</Id>
<Name>gatehouse.acme.dev.</Name><CallerReference>x</CallerReference></HostedZone></GetHostedZoneResponse>"""

_LAMBDA_LIMITS = (
    b'{"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}'
)


def own_stack_file(stack: str = "dev") -> str:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    for example, own in (
        ("123456789012", ACCOUNT),
        ("example.com", "acme.dev"),
        ("example/", "acme/"),
    ):
        assert example in text
        text = text.replace(example, own)
    return text


def arn(process: str, revision: int) -> str:
    return f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition/gatehouse-dev-{process}:{revision}"


@dataclass
class FakeAccount:
    """State of the account.

    folder: the project for which commands run. emulator: receives their requests to AWS instead.
    revisions: image of each revision of a task definition.
    describe_error: error code of ECS for DescribeServices; "" for none.
    recovers: the second complete update is not rolled back.
    migration: exit code of the migration; None if the container did not start.
    functions: output of the functions of the stack. Their aliases route to version 1.
    smoke_test: status that the new version of a function returns.
    canary: result of the probe for the canary key; None if the stack has no probe.
    pushed: images in the registry: the tags, keyed by digest. None if the repository does not
        exist.
    failures: error message of the CLI, keyed by command.
    replaced: resources that an update has replaced after the last preview. ids: their IDs.
    pending: replaced resources that the engine has not deleted yet.
    resources: resources in the state, in addition to those in `pending`.
    unfinished: operations during which an earlier update was stopped.
    rejection: error code with which AWS rejects the credentials in every request, such as
        ExpiredToken; "" if it accepts them.
    intercept: receives the command of the CLI or the action of ECS and its result. Returns the
        result.
    """

    url: str = ""
    folder: Path = field(default_factory=Path)
    emulator: Emulator | None = None
    revisions: dict[int, str] = field(default_factory=lambda: {1: OLD, 2: NEW})
    describe_error: str = ""
    running: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 1))
    expected: int = 2
    steps: list[str] = field(default_factory=list)
    rolls_back: bool = False
    recovers: bool = False
    migration: int | None = 0
    unhealthy: tuple[str, ...] = ()
    preview: int = 0
    backend: str = "s3://acme-state"
    stacks: tuple[str, ...] = ("dev",)
    no_stack: str = "error: no stack named 'dev' found"
    undeployed: tuple[str, ...] = ()
    functions: dict[str, Any] = field(default_factory=dict)
    smoke_test: int = 200
    canary: bool | None = None
    pushed: dict[str, list[str]] | None = field(
        default_factory=lambda: {OLD: [f"{DEPLOYED_TAG}{'a' * 32}"]}
    )
    platforms: str = "linux/amd64, linux/arm64"
    replaced: set[str] = field(default_factory=set)
    ids: Counter[str] = field(default_factory=Counter)
    pending: list[str] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, Any] = field(default_factory=dict)
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    locks: list[dict[str, Any]] = field(default_factory=list)
    failed_updates: int = 0
    rejection: str = ""
    signed_by: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    intercept: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda call, result: result

    def release(self, *words: str, **options: Any) -> CompletedProcess[str]:
        return release(self, self.folder, *words, **options)

    def refusal(self, *words: str, **options: Any) -> str:
        result = self.release(*words, **options)
        assert (result.returncode, self.steps) == (2, [])
        return result.stderr

    def digest(self) -> str:
        (digest,) = re.findall(r" digest: (\S+)", (self.folder / "Pulumi.dev.yaml").read_text())
        return str(digest)

    def pulumi(self, words: list[str]) -> dict[str, Any]:
        if self.rejection:
            return {"code": 255, "error": f"error: could not read the bucket: {self.rejection}\n"}
        if message := self.failures.get(words[0]):
            return {"code": 255, "error": f"{message}\n"}
        if words[0] == "whoami":
            return {"code": 0, "text": json.dumps({"user": "ada", "url": self.backend})}
        if words[:2] == ["stack", "--show-name"]:
            return (
                {"code": 0, "text": words[3]}
                if words[3] in self.stacks
                else {"code": 6, "error": self.no_stack}
            )
        if words[:2] == ["stack", "output"]:
            outputs = self._outputs()
            return (
                {"code": 0, "text": json.dumps(outputs[words[2]])}
                if words[2] in outputs
                else {"code": 1}
            )
        if words[:2] == ["stack", "export"]:
            state = {
                "manifest": {"time": str(sum(step.startswith("up") for step in self.steps))},
                "resources": [
                    {"type": row["urn"].split("$")[-1].split("::")[-2], **row}
                    for row in (
                        *self.resources,
                        *(
                            {"urn": urn, "id": str(self.ids[urn] - 1), "delete": True}
                            for urn in self.pending
                        ),
                        *(
                            {"urn": urn, "id": str(self.ids[urn])}
                            for urn in (self._plan() if words[3] == "dev" else ())
                        ),
                    )
                ],
                "pending_operations": self.unfinished,
                "secrets_providers": self.secrets,
                **self.parts,
            }
            return {"code": 0, "text": json.dumps({"deployment": state})}
        if words[0] == "login":
            self.backend = words[1]
            self.steps.append(f"login {self.backend}")
            return {"code": 0}
        if words[:2] == ["stack", "init"]:
            self.stacks = (*self.stacks, words[2])
            self.steps.append(f"stack init {' '.join(words[2:-1])}")
            return {"code": 0}
        if words[0] == "preview":
            self.steps.append("preview")
            if "--save-plan" in words:
                file = Path(words[words.index("--save-plan") + 1])
                assert file.parent.stat().st_mode & 0o077 == 0
                self.replaced = set()
                plan = self._plan()
                for urn in self.pending:
                    plan[urn]["steps"].append("delete-replaced")
                file.write_text(json.dumps({"resourcePlans": plan}))
            return {"code": self.preview, "text": ""}
        if words[0] == "destroy":
            self.steps.append(
                "preview of the destruction" if "--preview-only" in words else "destroy"
            )
            return {"code": self.preview}
        excluded = "--exclude-dependents" in words
        without = (
            "up without services and aliases"
            if any("lambda/alias" in word for word in words)
            else "up without services"
        )
        self.steps.append(without if excluded else "up")
        assert words.count("--policy-pack") == (0 if excluded else 2)
        if excluded:
            self.replaced = {urn for urn in self._plan() if urn.endswith("migrate")}
            self.pending += self.replaced
            self.ids.update(self.replaced)
        else:
            plan = json.loads(Path(words[words.index("--plan") + 1]).read_text())
            if error := fake_engine.unplanned(
                plan["resourcePlans"], self._plan(), self.replaced, self.pending
            ):
                return {"code": 255, "error": error}
            if self.failed_updates:
                self.failed_updates -= 1
                return {
                    "code": 255,
                    "error": "error: 1 error occurred: timeout while waiting for the ECS service\n",
                }
            self.pending = []
        if self.recovers and self.steps.count("up") == 2:
            self.rolls_back, self.canary = False, None if self.canary is None else True
        if not excluded and not self.rolls_back:
            self.running = dict.fromkeys(SERVICES, self.expected)
        return {"code": 0, "text": ""}

    def ecs(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if action == "DescribeServices":
            if self.describe_error:
                return {"__type": self.describe_error, "message": "denied"}
            return {
                "services": [self._service(name) for name in request["services"]],
                "failures": [],
            }
        if action == "RunTask":
            self.steps.append(f"run {request['taskDefinition'].rpartition('/')[2]}")
            network = {
                "subnets": ["subnet-1"],
                "securityGroups": ["sg-1"],
                "assignPublicIp": "DISABLED",
            }
            assert request["networkConfiguration"] == {"awsvpcConfiguration": network}
            return {"tasks": [{"taskArn": "arn:aws:ecs:eu-west-1:1:task/main/abc"}], "failures": []}
        if action == "DescribeTasks":
            codes = {"aws-guardduty-agent-Xy1": None, "migrate": self.migration}
            containers = [
                {"name": name, **({} if code is None else {"exitCode": code})}
                for name, code in codes.items()
            ]
            task = {
                "lastStatus": "STOPPED",
                "stoppedReason": "Essential container exited",
                "containers": containers,
            }
            return {"tasks": [task], "failures": []}
        if action == "ListTaskDefinitions":
            process = request["familyPrefix"].rpartition("-")[2]
            active = max(self.revisions)
            listed = [active] if request["status"] == "ACTIVE" else {*self.revisions} - {active}
            return {"taskDefinitionArns": [arn(process, revision) for revision in listed]}
        if action == "FilterLogEvents":
            return {"__type": "ResourceNotFoundException"}
        assert action == "DescribeTaskDefinition", action
        digest = self.revisions[int(request["taskDefinition"].rpartition(":")[2])]
        containers = [
            {
                "name": "aws-guardduty-agent",
                "image": f"registry/aws-guardduty-agent-fargate@sha256:{'d' * 64}",
            },
            {"name": "gateway", "image": f"registry/gatehouse@{digest}"},
        ]
        return {"taskDefinition": {"containerDefinitions": containers}}

    def operation(self, row: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def ecr(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if self.pushed is None:
            return {"__type": "RepositoryNotFoundException", "message": "no repository"}
        if action == "DescribeRepositories":
            return {
                "repositories": [{"repositoryName": name} for name in request["repositoryNames"]]
            }
        if action == "GetAuthorizationToken":
            token = base64.b64encode(b"AWS:registry-password").decode()
            return {"authorizationData": [{"authorizationToken": token}]}
        if action == "DescribeImages":
            (image,) = request["imageIds"]
            if tags := self.pushed.get(image["imageDigest"]):
                return {"imageDetails": [{"imageTags": tags}]}
            return {"__type": "ImageNotFoundException", "message": "no image"}
        if action == "BatchGetImage":
            media_type = "application/vnd.oci.image.manifest.v1+json"
            return {
                "images": [
                    {"imageManifest": row["imageDigest"], "imageManifestMediaType": media_type}
                    for row in request["imageIds"]
                    if "imageDigest" in row
                ],
                "failures": [],
            }
        assert action == "PutImage", action
        if any(request["imageTag"] in tags for tags in self.pushed.values()):
            return {"__type": "ImageTagAlreadyExistsException", "message": "exists"}
        tags = self.pushed.setdefault(request["imageManifest"], [])
        tags.append(request["imageTag"])
        return {"image": {}}

    def docker(self, words: list[str], stdin: str) -> dict[str, Any]:
        if words[:2] == ["buildx", "inspect"]:
            return {"code": 0, "text": f"Platforms: {self.platforms}\n"}
        if words[0] == "login":
            self.steps.append(f"login {words[-1]} {stdin}")
            return {"code": 0}
        self.steps.append("build")
        options = dict(itertools.pairwise(words))
        assert self.pushed is not None
        self.pushed[OLD] = [options["--tag"].rpartition(":")[2], options["--platform"]]
        Path(options["--metadata-file"]).write_text(json.dumps({"containerimage.digest": OLD}))
        return {"code": 0}

    def cosign(self, words: list[str]) -> dict[str, Any]:
        options = dict(itertools.pairwise(words))
        assert (words[0], options["--certificate-oidc-issuer"]) == (
            "verify",
            "https://token.actions.githubusercontent.com",
        )
        self.steps.append(f"verify {words[-1]}")
        if self.signed_by.get(words[-1]) == options["--certificate-identity"]:
            return {"code": 0}
        return {"code": 1, "error": "Error: no signatures\nno matching signatures\n"}

    def s3(self, path: str) -> bytes:
        folder = ".pulumi/locks/organization/gatehouse/dev/"
        if "?" not in path:
            return json.dumps(self.locks[int(path.rpartition("/")[2])]).encode()
        if f"prefix={quote(folder, safe='')}&" not in path:  # a stack of the project `account`
            return b"<ListBucketResult/>"
        keys = "".join(
            f"<Contents><Key>{folder}{number}</Key></Contents>" for number in range(len(self.locks))
        )
        return f"<ListBucketResult>{keys}</ListBucketResult>".encode()

    def lambda_(self, path: str) -> dict[str, Any]:
        if "/aliases/" in path:
            return {"Name": "live", "FunctionVersion": "1"}
        if "/invocations" in path:
            if "-probe/" in path:
                self.steps.append("invoke the probe")
                return {"canary": self.canary}
            self.steps.append(f"invoke {path.partition('Qualifier=')[2]}")
            return {"statusCode": self.smoke_test}
        assert "/configuration" in path, path
        return {"State": "Active"}

    def _plan(self) -> dict[str, Any]:
        component = "urn:pulumi:dev::gatehouse::gatehouse:compute:TaskDefinition"
        names = (*SERVICES, "migrate")
        steps = ("create-replacement", "replace", "delete-replaced")
        urn = f"{component}$aws:ecs/taskDefinition:TaskDefinition::"
        return {f"{urn}{name}": {"goal": {}, "steps": [*steps]} for name in names}

    def _outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = {
            "cluster": "gatehouse-dev-main",
            "services": {
                name: {
                    "service": f"gatehouse-dev-{name}",
                    "taskDefinition": arn(name, self.expected),
                }
                for name in SERVICES
            },
            "migration": {
                "taskDefinition": arn("migrate", 2),
                "subnets": ["subnet-1"],
                "securityGroup": "sg-1",
            },
            "functions": self.functions,
            "urls": {
                service: f"{self.url}/{service}" for service in ("gateway", "console", "sharing")
            },
        }
        if self.canary is not None:
            canary = {"name": "gatehouse/dev/canary-key", "echo": f"{self.url}/echo"}
            outputs["probe"] = {"function": "gatehouse-dev-probe", "event": {"canary": canary}}
        return outputs | {
            name: {"gateway": {"taskDefinition": UNKNOWN}} for name in self.undeployed
        }

    def _service(self, name: str) -> dict[str, Any]:
        revision = self.running[name.rpartition("-")[2]]
        primary = {
            "status": "PRIMARY",
            "id": f"ecs-svc/{revision}",
            "taskDefinition": arn(name.rpartition("-")[2], revision),
            "rolloutState": "COMPLETED",
            "rolloutStateReason": "ECS deployment circuit breaker: rolling back."
            if self.rolls_back
            else "",
            "runningCount": 1,
            "desiredCount": 1,
        }
        return {"serviceName": name, "status": "ACTIVE", "deployments": [primary]}


def _rejection(code: str, *, is_json: bool) -> bytes:
    if is_json:
        return json.dumps({"__type": code, "message": "expired"}).encode()
    error = f"<Error><Code>{code}</Code><Message>expired</Message></Error>"
    return f"<ErrorResponse>{error}</ErrorResponse>".encode()


@contextmanager
def serving(account: FakeAccount) -> Iterator[str]:
    class Handler(http_servers.Handler):
        def do_GET(self) -> None:
            service = self.path.split("/")[1]
            if account.rejection:
                self.respond(403, _rejection(account.rejection, is_json=False))
                return
            if service == "2013-04-01":
                self.respond(200, _ZONE if "/hostedzone/" in self.path else _NO_ZONES)
                return
            if service == "2016-08-19":
                self.respond(200, _LAMBDA_LIMITS)
                return
            if service.startswith("acme-state"):
                self.respond(200, account.s3(self.path))
                return
            if service == "2015-03-31":
                self.respond_json(account.lambda_(self.path))
                return
            self.respond(503 if service in account.unhealthy else 200, b"{}")

        def do_POST(self) -> None:
            body = self.body()
            if self.path in ("/pulumi", "/docker", "/cosign"):
                stdin, *words, _ = body.decode().split("\1")
                if self.path == "/docker":
                    result = account.docker(words, stdin)
                else:
                    result = (
                        account.cosign(words)
                        if self.path == "/cosign"
                        else account.intercept(words[0], account.pulumi(words))
                    )
                parts = (result["code"], result.get("text", ""), result.get("error", ""))
                self.respond(200, "".join(f"{part}\1" for part in parts).encode())
            elif self.path == "/operation":
                self.respond_json(account.operation(json.loads(body)))
            elif account.rejection:
                self.respond(
                    403, _rejection(account.rejection, is_json="X-Amz-Target" in self.headers)
                )
            elif self.path.startswith("/2015-03-31/"):
                self.respond_json(account.lambda_(self.path))
            elif self.headers.get("X-Amz-Target", "").startswith("ServiceQuotas"):
                self.respond(200, b'{"Quota": {"Value": 1000}}')
            elif self.headers.get("X-Amz-Target", "").endswith(
                ("DescribeTrails", "DescribeResourcePolicies")
            ):
                self.respond(200, b'{"trailList": [], "resourcePolicies": []}')
            elif b"Action=DescribeEventSubscriptions&" in body:
                name = b"DescribeEventSubscriptionsResult"
                rows = b"<EventSubscriptionsList/>"
                self.respond(200, b"<R><%s>%s</%s></R>" % (name, rows, name))
            elif resource := re.search(rb"Action=Describe(\w+)&Version=2016-11-15", body):
                sets = b"<addressesSet/><vpcSet/><vpcEndpointSet/><subnetSet/><natGatewaySet/>"
                self.respond(200, b"<Describe%s>%s</Describe%s>" % (resource[1], sets, resource[1]))
            elif target := self.headers.get("X-Amz-Target"):
                service = account.ecr if "ContainerRegistry" in target else account.ecs
                action = target.partition(".")[2]
                result = account.intercept(action, service(action, json.loads(body)))
                self.respond_json(result, 400 if "__type" in result else 200)
            else:
                self.respond(200, _IDENTITY.encode())

        do_PUT = do_POST

    with http_servers.serving(Handler) as url:
        account.url = url
        yield url


def write_command(file: Path, account: FakeAccount) -> None:
    host, _, port = account.url.removeprefix("http://").partition(":")
    text = _CLI.replace("COMMAND", file.name).replace("HOST", host).replace("PORT", port)
    processes.executable(file, text)


def release(
    account: FakeAccount,
    folder: Path,
    *words: str,
    image: str = NEW,
    stdin: str = "",
    stack_file: str | None = None,
    has_passphrase: bool = True,
    credentials: bool = True,
    backend_url: str = "",
    cli: bool = True,
    cosign: bool = True,
    protected: bool = True,
    github_repository: str = "",
    stack: str = "dev",
) -> CompletedProcess[str]:
    """Run `release <words> --env <stack>` in this process, for a project with the dev stack and the
    fake Pulumi CLI.

    image: digest in the stack file. stack_file: text of the stack file, by default
        `own_stack_file()`.
    backend_url: PULUMI_BACKEND_URL.
    cosign: cosign is installed. protected: the environments on GitHub have protection rules.
    github_repository: repository of the GitHub workflow that runs the
        command.
    """
    text = own_stack_file() if stack_file is None else stack_file
    (folder / "Pulumi.dev.yaml").write_text(re.sub(r"digest: sha256:\w+", f"digest: {image}", text))
    (folder / "bin").mkdir(exist_ok=True)
    for command in ("pulumi", "docker", *(["cosign"] if cosign else [])) if cli else ():
        write_command(folder / "bin" / command, account)
    if words[0] == "deploy":
        gh = _GH if protected else "#!/bin/bash\nexit 1\n"
        processes.executable(folder / "bin" / "gh", gh)
    emulator = account.emulator
    key, secret = emulator.credentials if emulator else ("x", "x")
    variables = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        if cli and cosign
        else str(folder / "bin"),
        "NO_PROXY": "127.0.0.1",
        **({"GITHUB_REPOSITORY": github_repository} if github_repository else {}),
        **{"AWS_ENDPOINT_URL": emulator.endpoint if emulator else account.url},
        **({"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret} if credentials else {}),
        **({"PULUMI_BACKEND_URL": backend_url} if backend_url else {}),
        **{
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        },
        **({"PULUMI_CONFIG_PASSPHRASE": "x"} if has_passphrase else {}),
    }
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as process, redirect_stdout(output), redirect_stderr(errors):
        inherited = ("AWS_", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_BACKEND_URL", "GITHUB_REPOSITORY")
        for name in [name for name in os.environ if name.startswith(inherited)]:
            process.delenv(name)
        for name, value in variables.items():
            process.setenv(name, value)
        process.setattr(sys, "stdin", io.StringIO(stdin))
        # Without credentials, boto3 creates its default session, which finds none.
        process.setattr(boto3, "DEFAULT_SESSION", session(key, secret) if credentials else None)
        code = main([*words, "--env", stack, "--root", str(folder)])
    return CompletedProcess(words, code, output.getvalue(), errors.getvalue())
