"""The reads of `pulumi preview --refresh` under the policies of the preview role, its boundary and
the resource policies of a deployed stack. Not modeled: organization and session policies, and calls
that are not in provider_actions.toml.
"""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from components.delivery.scope import GLOBAL_REGION
from components.naming import Naming
from tests.components.settings.test_matrix import ACTIONS, GLOBAL_SERVICES, READS, actions, read_arn
from tests.iam_evaluation import Call, RawDocument, decide


class PreviewRole:
    """The `service` of a deployed account that rejects each read which AWS denies to the role.

    calls: number of evaluated calls. denied: an action that a policy of the role denies as well.
    """

    def __init__(self, state: dict[str, Any], region: str, denied: str) -> None:
        rows = [(row["type"], row["outputs"]) for row in state["resources"] if "outputs" in row]
        (role,) = (
            row
            for type_, row in rows
            if type_ == "aws:iam/role:Role" and row["name"].endswith("-preview")
        )
        policies = {
            row["arn"]: _document(row) for type_, row in rows if type_ == "aws:iam/policy:Policy"
        }
        deny = {"Effect": "Deny", "Action": denied, "Resource": "*"}
        self._identity: list[RawDocument] = [{"Version": "2012-10-17", "Statement": [deny]}] + [
            policies[row["policyArn"]]
            for type_, row in rows
            if type_ == "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
            and row["role"] == role["name"]
        ]
        self._limits = [policies[role["permissionsBoundary"]]]
        self._attached = [
            (set(map(str, row.values())), _document(row))
            for type_, row in rows
            if type_.endswith("Policy") and "policy" in row and not type_.startswith("aws:iam/")
        ]
        self._principal, self._region = str(role["arn"]), region
        self._names = Naming("", self._principal.split(":")[4], region)
        self._actions: dict[str, str] = tomllib.loads(ACTIONS.read_text())
        self.calls = 0

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        denied = [*self._denied(row)] if row["operation"] == "read" else []
        return {"error": f"AccessDenied: {' '.join(denied)}"} if denied else {}

    def _denied(self, row: dict[str, Any]) -> Iterator[str]:
        kind = row["type"].split(":")[1]
        module = kind.partition("/")[0]
        for action in actions(self._actions.get(kind) or self._actions[f"{module}/*"]):
            if READS.match(action):
                self.calls += 1
                if not self._allows(action, module, row):
                    yield action

    def _allows(self, action: str, module: str, row: dict[str, Any]) -> bool:
        inputs = row["inputs"]
        home = GLOBAL_REGION if module in GLOBAL_SERVICES else self._region
        arn = read_arn(action, row["type"], inputs, self._names)
        arn = (row["arn"] or "*") if arn == "*" else arn
        if "/bucketObjectv2:" in row["type"]:
            arn = f"arn:aws:s3:::{inputs['bucket']}/{inputs['key']}"
        context = {"aws:RequestedRegion": inputs.get("region", home), "aws:SecureTransport": "true"}
        is_key = "Key:" in row["type"] and module == "kms"
        attached = [document for names, document in self._attached if {row["id"], arn} & names]
        return decide(
            Call(self._principal, action, arn, context),
            identity=self._identity,
            limits=self._limits,
            resource=_document(inputs) if is_key else next(iter(attached), None),
            resource_decides=is_key,
        ).allowed


def _document(row: dict[str, Any]) -> RawDocument:
    return dict(json.loads(row["policy"]))
