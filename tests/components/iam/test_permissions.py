"""What each role, VPC endpoint, container and security group may do."""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.components.program import OPTIONS, Program, run

FILE = Path(__file__).with_name("permissions.toml")
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "prod": ("prod", {}),
    "serverless": ("staging", {}),
    "options": ("dev", OPTIONS),
}
"""Stack and changed settings of each form."""
POLICIES = {"iam.RolePolicy": "role", "ec2.VpcEndpoint": "endpoint"}


def lines(program: Program) -> Iterator[tuple[str, str]]:
    for role in program.of_type("iam.Role"):
        yield f"role {role.name}", f"boundary {role.inputs.get('permissionsBoundary')}"
    for kind, owner in POLICIES.items():
        for policy in program.of_type(kind):
            for row in json.loads(policy.inputs["policy"])["Statement"]:
                text = f"{row['Effect']} {row['Action']} on {row['Resource']}"
                condition = f" if {row['Condition']}" if "Condition" in row else ""
                yield f"{owner} {policy.name}", text + condition
    for task in program.of_type("ecs.TaskDefinition"):
        for container in program.containers(task.name):
            for secret in container.get("secrets", ()):
                yield f"secrets {task.name} {container['name']}", str(secret)
    for direction in ("Ingress", "Egress"):
        for rule in program.of_type(f"vpc.SecurityGroup{direction}Rule"):
            left_out = ("description", "tags", "securityGroupId")
            allowed = {key: value for key, value in rule.inputs.items() if key not in left_out}
            yield f"group {rule.inputs['securityGroupId']}", f"{direction} {allowed}"


@cache
def permissions(form: str) -> dict[str, list[str]]:
    """The sorted lines of each owner. Other forms than prod have the owners that differ."""
    stack, changes = FORMS[form]
    owners = defaultdict(list)
    for owner, text in lines(run(stack, changes=changes)):
        for value in (f"-{stack}-", f"/{stack}/", f"/{stack}'"):
            text = text.replace(value, value.replace(stack, "<env>"))
        for value, short in ((":eu-west-1:123456789012:", ":"), ("arn:aws:", ""), ("'", "")):
            text = text.replace(value, short)
        owners[owner].append(text)
    prod = {} if form == "prod" else permissions("prod")
    return {
        owner: sorted(owners[owner])
        for owner in sorted(owners)
        if sorted(owners[owner]) != prod.get(owner)
    }


@pytest.mark.parametrize("form", FORMS)
def test_permissions_are_those_on_record(form: str) -> None:
    recorded = tomllib.loads(FILE.read_text())[form]
    assert permissions(form) == recorded, (
        "if the change is intended, run: python -m tests.components.iam.test_permissions"
    )


if __name__ == "__main__":
    with FILE.open("w") as file:
        file.write("# Written by tests/components/iam/test_permissions.py.\n")
        for form in FORMS:
            file.write(f"\n[{form}]\n")
            for owner, texts in permissions(form).items():
                items = "".join(f"  {json.dumps(text)},\n" for text in texts)
                file.write(f"{json.dumps(owner)} = [\n{items}]\n")
