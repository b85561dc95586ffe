"""Answers to the few provider functions that need no AWS account; every other one is an error that names it."""

from collections.abc import Callable
from typing import Any

from sandbox.errors import SandboxError

DEFAULT_REGION = "eu-west-1"


def invoke(token: str, args: dict[str, Any], account: str) -> dict[str, Any]:
    """The function's answer for the sandbox's account. Raises SandboxError for a function without one."""
    answer = _INVOKES.get(token)
    if answer is None:
        known = ", ".join(sorted(name.rpartition(":")[2] for name in _INVOKES))
        raise SandboxError(
            f"The program calls {token}, which the sandbox has no answer for (it knows {known}). "
            "Take the value from the stack file instead, or add the function to sandbox/invokes.py."
        )
    return answer(args, account)


def _region_asked(args: dict[str, Any]) -> str:
    return str(args.get("region") or args.get("name") or DEFAULT_REGION)


def _caller(args: dict[str, Any], account: str) -> dict[str, Any]:
    return {"accountId": account, "arn": f"arn:aws:iam::{account}:user/sandbox", "id": account, "userId": "AIDASANDBOX"}


def _region(args: dict[str, Any], account: str) -> dict[str, Any]:
    name = _region_asked(args)
    return {"id": name, "name": name, "region": name, "endpoint": f"ec2.{name}.amazonaws.com", "description": name}


def _partition(args: dict[str, Any], account: str) -> dict[str, Any]:
    return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}


def _zones(args: dict[str, Any], account: str) -> dict[str, Any]:
    name = _region_asked(args)
    return {
        "id": name,
        "names": [f"{name}{letter}" for letter in "abc"],
        "zoneIds": [f"{name}-az{number}" for number in (1, 2, 3)],
        "groupNames": [name],
        "region": name,
    }


_INVOKES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
}
