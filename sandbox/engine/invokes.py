"""Answers to the provider functions that need no AWS account. What looks something up in an account is an error that names
it, or, where a program is only judged, a made-up answer of the right form.
"""

from collections.abc import Callable
from typing import Any

from policies.analysis.iam.grammar import DocumentError
from policies.analysis.iam.rendering import policy_document
from sandbox.engine.fake_outputs import invented_answer
from sandbox.errors import SandboxError

DEFAULT_REGION = "eu-west-1"


def invoke(token: str, args: dict[str, Any], account: str) -> dict[str, Any]:
    """The function's answer for the sandbox's account. Raises SandboxError for a function without one."""
    answer = _INVOKES.get(token)
    if answer is None:
        known = ", ".join(sorted(name.rpartition(":")[2] for name in _INVOKES))
        raise SandboxError(
            f"The program calls {token}, which the sandbox has no answer for (it knows {known}). "
            "Take the value from the stack file instead, or add the function to sandbox/engine/invokes.py."
        )
    return answer(args, account)


def invoke_or_invent(token: str, args: dict[str, Any], account: str, invented: set[str]) -> dict[str, Any]:
    """The same, with a made-up answer for whatever needs an account; its token goes into `invented`, for the report.

    Raises SandboxError for a function that the installed pulumi-aws does not have.
    """
    if token in _INVOKES:
        return invoke(token, args, account)
    answer = invented_answer(token, args, _region_asked(args), account)
    if answer is None:
        return invoke(token, args, account)
    invented.add(token)
    return answer


def _region_asked(args: dict[str, Any]) -> str:
    return str(args.get("region") or DEFAULT_REGION)


def _policy_document(args: dict[str, Any], account: str) -> dict[str, Any]:
    try:
        return policy_document(args)
    except DocumentError as error:
        raise SandboxError(str(error)) from None


def _caller(args: dict[str, Any], account: str) -> dict[str, Any]:
    return {"accountId": account, "arn": f"arn:aws:iam::{account}:user/sandbox", "id": account, "userId": "AIDASANDBOX"}


def _region(args: dict[str, Any], account: str) -> dict[str, Any]:
    name = str(args.get("region") or args.get("name") or DEFAULT_REGION)
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
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
}
