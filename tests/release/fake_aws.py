"""A fake AWS account (STS, ECS, public URLs) and a fake Pulumi CLI."""

import json
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
OLD, NEW = (f"sha256:{letter * 64}" for letter in "ab")
SERVICES = ("gateway", "console")
_CLI = """#!{python}
import json, sys, urllib.request
words = sys.argv[1:]
if words[0] == "version":
    print("v3.300.0")
elif words[0] != "whoami":
    body = json.dumps(words).encode()
    request = urllib.request.Request("{url}/pulumi", data=body)
    with urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request) as response:
        result = json.load(response)
    print(result["text"])
    sys.exit(result["code"])
"""
_IDENTITY = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{ACCOUNT}:user/x</Arn><UserId>x</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


def arn(process: str, revision: int) -> str:
    return f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition/gatehouse-dev-{process}:{revision}"


@dataclass
class FakeAccount:
    """State of the account. Revision 1 of a task definition runs the image OLD, revision 2 the image NEW.

    steps: calls in order.
    rolls_back: ECS rolls new deployments back.
    migration: exit code of the migration; None if the container did not start.
    unhealthy: services that return 503.
    preview: exit code of `pulumi preview`.
    """

    url: str = ""
    running: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 1))
    expected: int = 2
    steps: list[str] = field(default_factory=list)
    rolls_back: bool = False
    migration: int | None = 0
    unhealthy: tuple[str, ...] = ()
    preview: int = 0

    def pulumi(self, words: list[str]) -> dict[str, Any]:
        if words[:2] == ["stack", "output"]:
            return {"code": 0, "text": json.dumps(self._outputs()[words[2]])}
        if words[0] == "preview":
            self.steps.append("preview")
            return {"code": self.preview, "text": ""}
        excluded = "--exclude-dependents" in words
        self.steps.append("up without services" if excluded else "up")
        assert words.count("--policy-pack") == (0 if excluded else 2)
        if not excluded and not self.rolls_back:
            self.running = dict.fromkeys(SERVICES, self.expected)
        return {"code": 0, "text": ""}

    def ecs(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if action == "DescribeServices":
            return {"services": [self._service(name) for name in request["services"]], "failures": []}
        if action == "RunTask":
            self.steps.append(f"run {request['taskDefinition'].rpartition('/')[2]}")
            network = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
            assert request["networkConfiguration"] == {"awsvpcConfiguration": network}
            return {"tasks": [{"taskArn": "arn:aws:ecs:eu-west-1:1:task/main/abc"}], "failures": []}
        if action == "DescribeTasks":
            code = {} if self.migration is None else {"exitCode": self.migration}
            task = {"lastStatus": "STOPPED", "stoppedReason": "Essential container exited"}
            return {"tasks": [{**task, "containers": [{"name": "migrate", **code}]}], "failures": []}
        if action == "ListTaskDefinitions":
            process = request["familyPrefix"].rpartition("-")[2]
            return {"taskDefinitionArns": [arn(process, 2 if request["status"] == "ACTIVE" else 1)]}
        assert action == "DescribeTaskDefinition", action
        digest = NEW if request["taskDefinition"].endswith(":2") else OLD
        return {"taskDefinition": {"containerDefinitions": [{"image": f"registry/gatehouse@{digest}"}]}}

    def _outputs(self) -> dict[str, Any]:
        return {
            "cluster": "gatehouse-dev-main",
            "services": {
                name: {"service": f"gatehouse-dev-{name}", "taskDefinition": arn(name, self.expected)} for name in SERVICES
            },
            "migration": {"taskDefinition": arn("migrate", 2), "subnets": ["subnet-1"], "securityGroup": "sg-1"},
            "urls": {service: f"{self.url}/{service}" for service in ("gateway", "console", "sharing")},
        }

    def _service(self, name: str) -> dict[str, Any]:
        revision = self.running[name.rpartition("-")[2]]
        primary = {
            "status": "PRIMARY",
            "id": f"ecs-svc/{revision}",
            "taskDefinition": arn(name.rpartition("-")[2], revision),
            "rolloutState": "COMPLETED",
            "rolloutStateReason": "ECS deployment circuit breaker: rolling back." if self.rolls_back else "",
            "runningCount": 1,
            "desiredCount": 1,
        }
        return {"serviceName": name, "status": "ACTIVE", "deployments": [primary]}


@contextmanager
def serving(account: FakeAccount) -> Iterator[str]:
    """Serve the account on a free port. Yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service = self.path.split("/")[1]
            self._respond(503 if service in account.unhealthy else 200, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/pulumi":
                self._respond(200, json.dumps(account.pulumi(json.loads(body))).encode())
            elif target := self.headers.get("X-Amz-Target"):
                self._respond(200, json.dumps(account.ecs(target.partition(".")[2], json.loads(body))).encode())
            else:
                self._respond(200, _IDENTITY.encode())

        def _respond(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        account.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield account.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def release(account: FakeAccount, folder: Path, *words: str, image: str = NEW, stdin: str = "") -> CompletedProcess[str]:
    """Run `python -m release <words> --env dev` in a project with the dev stack, this image digest and the fake Pulumi CLI."""
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    (folder / "Pulumi.dev.yaml").write_text(re.sub(r"digest: sha256:\w+", f"digest: {image}", text))
    cli = folder / "bin" / "pulumi"
    cli.parent.mkdir()
    cli.write_text(_CLI.format(python=sys.executable, url=account.url))
    cli.chmod(cli.stat().st_mode | stat.S_IXUSR)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ |= {
        **{"PATH": f"{folder / 'bin'}{os.pathsep}{environ['PATH']}", "NO_PROXY": "127.0.0.1"},
        **{"AWS_ENDPOINT_URL": account.url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        **{"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
    }
    command = [sys.executable, "-m", "release", *words, "--env", "dev", "--root", str(folder)]
    return run(command, cwd=ROOT, env=environ, input=stdin, capture_output=True, text=True, timeout=120, check=False)
