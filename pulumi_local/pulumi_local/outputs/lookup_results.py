"""Results of provider functions. Functions that read an AWS account raise an error in the emulator
and have fake results in a check.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_local.aws_location import AwsLocation
from pulumi_local.errors import CommandError
from pulumi_local.outputs.delivery_accounts import BILLING, LOAD_BALANCING, TRAILS
from pulumi_local.outputs.fake_outputs import fake_result
from pulumi_local.outputs.policy_documents import policy_document
from pulumi_local.schema import camel
from pulumi_local.type_tokens import by_token, function_name


def invoke(token: str, args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    """The result of a provider function. Raises CommandError for any other function."""
    function = _INVOKES.get(token)
    if function is None:
        known = ", ".join(sorted(name.rpartition(":")[2] for name in _INVOKES))
        raise CommandError(
            f"Without an AWS account, the function {token} is not supported (supported: {known}). "
            "Read the value from the stack configuration."
        )
    return function(args, location)


def invoke_or_fake(
    token: str,
    args: dict[str, Any],
    faked_functions: set[str],
    location: AwsLocation,
    examples: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The result of a provider function. If the result depends on an account, a fake result is
    returned and the token is added to `faked_functions`.

    examples: results that replace parts of a fake result (`lookups` of the configuration file).

    Raises CommandError for a function that the installed package does not have.
    """
    in_region = location.with_region(args.get("region"))
    result = None if token in _INVOKES else fake_result(token, args, in_region)
    if result is None:
        return invoke(token, args, location)
    faked_functions.add(token)
    for example in examples:
        arguments = {camel(name): value for name, value in example.get("arguments", {}).items()}
        if example["function"] == function_name(token) and arguments.items() <= args.items():
            result |= {camel(name): value for name, value in example["result"].items()}
    return result


def _policy_document(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    return policy_document(args)


def _caller(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    return {
        **{"accountId": location.account, "id": location.account, "userId": "AIDASANDBOX"},
        "arn": f"arn:aws:iam::{location.account}:user/sandbox",
    }


def _region(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    name = str(args.get("region") or args.get("name") or location.region)
    return {
        "id": name,
        "name": name,
        "region": name,
        "endpoint": f"ec2.{name}.amazonaws.com",
        "description": name,
    }


def _partition(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    return {
        "id": "aws",
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    }


def _zones(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    name = location.with_region(args.get("region")).region
    return {
        "id": name,
        "names": [f"{name}{letter}" for letter in "abc"],
        "zoneIds": [f"{name}-az{number}" for number in (1, 2, 3)],
        "groupNames": [name],
        "region": name,
    }


def _managed_prefix_list(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
    """A prefix list that AWS manages. Its ID is the same in all accounts and different in each
    region.
    """
    name, region = str(args.get("name", "")), location.with_region(args.get("region")).region
    identity = f"pl-{hashlib.sha256(f'{name} {region}'.encode()).hexdigest()[:8]}"
    return {
        "id": identity,
        "name": name,
        "arn": f"arn:aws:ec2:{region}:aws:prefix-list/{identity}",
        "addressFamily": "IPv4",
        "entries": [],
        "maxEntries": 0,
        "ownerId": "AWS",
        "region": region,
        "tags": {},
        "version": 1,
    }


def _delivery_account(
    accounts: Mapping[str, str],
) -> Callable[[dict[str, Any], AwsLocation], dict[str, Any]]:
    def result(args: dict[str, Any], location: AwsLocation) -> dict[str, Any]:
        region = location.with_region(args.get("region")).region
        if region not in accounts:
            raise CommandError(
                f"AWS has no account that delivers logs in {region}. Allow the service principal "
                f"instead."
            )
        return {**_root_of(accounts[region]), "region": region}

    return result


def _root_of(account: str) -> dict[str, Any]:
    return {"id": account, "arn": f"arn:aws:iam::{account}:root"}


_INVOKES: dict[str, Callable[[dict[str, Any], AwsLocation], dict[str, Any]]] = by_token(
    {
        "index.getCallerIdentity": _caller,
        "index.getRegion": _region,
        "index.getPartition": _partition,
        "index.getAvailabilityZones": _zones,
        "ec2.getManagedPrefixList": _managed_prefix_list,
        "iam.getPolicyDocument": _policy_document,
        "elb.getServiceAccount": _delivery_account(LOAD_BALANCING),
        "cloudtrail.getServiceAccount": _delivery_account(TRAILS),
        "index.getBillingServiceAccount": lambda _args, _location: _root_of(BILLING),
    }
)
