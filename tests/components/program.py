"""Runs the real `__main__.py` for one stack without any engine, and keeps what it asked for."""

import asyncio
import json
import runpy
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks, rpc
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_pulumi_func

from tests.components.settings.stack_settings import raw_settings

ROOT = Path(__file__).parent.parent.parent
ANSWERS: dict[str, dict[str, Any]] = {
    "aws:rds/instance:Instance": {
        "address": "db.example.internal",
        "endpoint": "db.example.internal:5432",
        "masterUserSecrets": [{"secretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1-abcdef"}],
    },
    "aws:elasticache/replicationGroup:ReplicationGroup": {"primaryEndpointAddress": "cache.example.internal"},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"prefixListId": "pl-1"},
    "aws:lambda/alias:Alias": {"invokeArn": "arn:aws:apigateway:mock:lambda:path/functions/sharing:live/invocations"},
    "aws:apigateway/restApi:RestApi": {"executionArn": "arn:aws:execute-api:mock::a1b2c3d4e5", "rootResourceId": "root"},
    "aws:apigateway/domainName:DomainName": {"regionalDomainName": "d-1.execute-api.mock", "regionalZoneId": "Z1"},
}
"""What AWS would add to some resources; an ARN is added to all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One resource as the engine would have received it."""

    type: str
    name: str
    inputs: dict[str, Any]
    protect: bool
    retain: bool
    provider: str
    parent: str
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """What one run asked for, and what it exported."""

    resources: list[Asked] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[Asked]:
        """The resources of a type such as `kms/key:Key`."""
        return [asked for asked in self.resources if asked.type == f"aws:{kind}"]

    def one(self, kind: str, name: str) -> Asked:
        """The one resource of a type with this name."""
        (found,) = (asked for asked in self.of(kind) if asked.name == name)
        return found

    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        """Every policy document with the name of its owner; fails on one that is not known."""
        found = []
        for asked in self.resources:
            for key in ("policy", "assumeRolePolicy", "policyDocument"):
                if asked.type.startswith("aws:") and key in asked.inputs:
                    found.append((f"{asked.type} {asked.name} {key}", json.loads(asked.inputs[key])))
        return found


def stack_file(stack: str) -> dict[str, Any]:
    """The `config` of a stack file."""
    config: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    return config


def serverless(stack: str) -> dict[str, str]:
    """The configuration of a stack whose sharing service is a Lambda function."""
    changes = {"sharing.mode": "serverless", "sharing.api_gateway_log_role": True}
    return {"gatehouse:settings": json.dumps(raw_settings(stack, changes))}


@cache
def run(stack: str, *, preview: bool = False, changes: str = "{}") -> Program:
    """One run of the program. `preview`: nothing that AWS would add is known, as in the first preview of a new stack.
    `changes`: JSON of dotted paths and the values that replace those of the stack file."""
    program = Program()
    failed: list[BaseException] = []

    def work() -> None:
        # A thread of its own has an event loop and Pulumi settings of its own.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            _run(loop, stack, preview, changes, program)
        except BaseException as exc:
            failed.append(exc)
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return program


def _run(loop: asyncio.AbstractEventLoop, stack: str, preview: bool, changes: str, program: Program) -> None:
    mocks.set_mocks(
        _Cloud(preview), project="gatehouse", stack=stack, preview=preview, monitor=_Monitor(_Cloud(preview), program)
    )
    config = stack_file(stack)
    config["gatehouse:settings"] = raw_settings(stack, json.loads(changes))
    set_all_config({key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()})
    loop.run_until_complete(run_pulumi_func(lambda: _main()))
    root: Any = pulumi.runtime.settings.get_root_resource()
    outputs: dict[str, Any] = root.outputs

    async def settle() -> None:
        for name, value in outputs.items():
            program.exports[name] = await pulumi.Output.from_input(value).future()

    loop.run_until_complete(settle())


def _main() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


class _Cloud(mocks.Mocks):
    """Answers with the inputs, and in a real run with what AWS would add."""

    def __init__(self, preview: bool) -> None:
        self.preview = preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if self.preview:
            return "", dict(args.inputs)
        added = ANSWERS.get(args.typ, {})
        return f"{args.name}-id", {"arn": f"arn:aws:mock:::{args.name}", **args.inputs, **added}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program asks AWS for {args.token}; everything it needs is in the stack file")


class _Monitor(mocks.MockMonitor):
    """Keeps each request with what mocks are not told: protection, provider and parent."""

    def __init__(self, cloud: _Cloud, program: Program) -> None:
        super().__init__(cloud)
        self.program = program

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            self.program.resources.append(
                Asked(
                    type=request.type,
                    name=request.name,
                    inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
                    protect=request.protect,
                    retain=request.retainOnDelete,
                    provider=request.provider,
                    parent=request.parent,
                    ignored=tuple(request.ignoreChanges),
                )
            )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]
