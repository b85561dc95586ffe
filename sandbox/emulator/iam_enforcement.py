"""IAM enforcement in the emulator: evaluates each call against the caller's policies and records
the actions that each role uses."""

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from gatehouse_policies.analysis.iam.conditions import applies_to_resource, holds
from gatehouse_policies.analysis.iam.grammar import Condition, parse, raw_statements
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import JsonRESTError
from moto.iam import access_control
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.secretsmanager.models import secretsmanager_backends
from pulumi_local.lists import listed
from pulumi_local.types import ACCOUNT

OPERATOR = "sandbox-operator"
"""The IAM user of the sandbox itself. All calls by this user are allowed, and none are recorded."""

_IAM_PREFIX = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}
"""Service names in signatures that differ from the service prefix of IAM actions."""

_ENCRYPTION_CONTEXT = "kms:encryptioncontext:"
"""Prefix of condition keys."""

_IAM_ACTION = {"budgets:CreateBudget": "budgets:ModifyBudget"}
"""API operations whose IAM action has another name (Service Authorization Reference)."""


class Permissions:
    """Replaces moto's evaluation, which ignores resources and most condition operators.

    moto has no request context, so only conditions on `aws:RequestedRegion`, for KMS on the
    encryption context and the account, and for SES on the sender, are evaluated. With any other
    condition, an Allow statement applies and a Deny statement does not; `unevaluated_conditions`
    lists the condition. If the request names a resource, the resource is compared; otherwise, a
    statement for any resource applies.
    """

    def __init__(self) -> None:
        self.unevaluated_conditions: list[str] = []
        self.used_actions: dict[str, set[str]] = {}
        self.denied: list[str] = []
        self._lock = threading.Lock()

    def enforce(self, on: bool) -> None:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if on else float("inf")
        ActionAuthenticatorMixin.request_count = 0

    def granted_actions(self, role: str) -> set[str]:
        backend = iam_backends[ACCOUNT]["aws"]
        documents: list[Any] = [
            backend.get_role_policy(role, name)[1] for name in backend.list_role_policies(role)
        ]
        documents += backend.list_attached_role_policies(role)[0]
        return {
            action
            for item in _statements(documents)
            if item.get("Effect") == "Allow"
            for action in listed(item.get("Action"))
        }

    def authorize(self, call: Any, resource: str) -> None:
        """Authorize the call in moto's `IAMRequest`. Raises an access denied error or records the
        action.
        """
        key = call._access_key
        name: str = getattr(key, "_owner_role_name", "") or getattr(key, "_owner_user_name", "")
        if name == OPERATOR or call._action == "sts:GetCallerIdentity":
            return
        service, _, operation = call._action.partition(":")
        action = f"{_IAM_PREFIX.get(service, service)}:{operation}"
        action = _IAM_ACTION.get(action, action)
        for used, target in _deletions(call, action, resource) or [
            (action, _resource(call, action, resource))
        ]:
            self._authorize(call, name, used, target)

    def _authorize(self, call: Any, name: str, action: str, target: str) -> None:
        key = call._access_key
        boundary = self._boundary(key)
        policies = _statements(key.collect_policies())
        granted = self._allows(policies, call, name, action, target)
        granted = granted or (action.startswith("kms:") and self._key_allows(call, name, action))
        # A permissions boundary limits permissions and grants none (IAM User Guide, "Permissions
        # boundaries for IAM entities").
        if not granted or (
            boundary is not None
            and not self._allows(_statements([boundary]), call, name, action, target)
        ):
            self._deny(call, name, action, target)
        with self._lock:
            self.used_actions.setdefault(name, set()).add(action)

    def _allows(
        self,
        statements: Iterable[Any],
        call: Any,
        name: str,
        action: str,
        target: str,
        principal: str = "",
    ) -> bool:
        """True if one of the statements allows the call. Raises an access denied error if a
        statement denies the call. principal: the ARN that statements of a resource policy must
        name.
        """
        allowed = False
        for raw in statements:
            statement = parse({"Statement": raw}).statements[0]
            if not statement.covers_action(action) or not (
                target == "*" or applies_to_resource(statement, target, None)
            ):
                continue
            if principal and ("AWS", principal) not in (statement.principals or ()):
                continue
            conditions_hold = _conditions_hold(statement.conditions, call, action)
            if conditions_hold is None:
                self._report_condition(name, action, raw["Condition"])
            if conditions_hold and not statement.allow:
                self._deny(call, name, action, target)
            allowed = allowed or (statement.allow and conditions_hold is not False)
        return allowed

    def _boundary(self, key: Any) -> Any:
        """The permissions boundary of the calling role, if it has one."""
        backend = iam_backends[ACCOUNT]["aws"]
        role = getattr(key, "_owner_role_name", "")
        arn = backend.get_role(role).permissions_boundary_arn if role else None
        return backend.get_policy(arn) if arn else None

    def _key_allows(self, call: Any, name: str, action: str) -> bool:
        """True if the key policy allows the action for the role itself (KMS Developer Guide, "Key
        policies in AWS KMS").

        If a key policy names the account instead, the policies of the role determine access.
        """
        keys: Any = kms_backends[ACCOUNT][call._region]
        key_id = str(_body(call).get("KeyId", "")).rpartition(":")[2].removeprefix("key/")
        key_id = keys.get_key_id_from_alias(key_id) if key_id.startswith("alias/") else key_id
        role = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        policy = json.loads(keys.keys[key_id].policy) if key_id in keys.keys else {}
        return self._allows(raw_statements(policy), call, name, action, "*", principal=role)

    def _report_condition(self, name: str, action: str, condition: dict[str, Any]) -> None:
        keys = ", ".join(
            f"{operator} {key}" for operator, pairs in condition.items() for key in pairs
        )
        text = f"{name}: {action} if {keys}"
        with self._lock:
            if text not in self.unevaluated_conditions:
                self.unevaluated_conditions.append(text)

    def _deny(self, call: Any, name: str, action: str, target: str) -> None:
        with self._lock:
            self.denied.append(f"{name}: {action} on {target}")
        if "X-Amz-Target" in call._headers:
            # moto denies the calls of every service in XML. Those with the protocol AWS JSON return
            # this error (Common Errors in the API reference of Secrets Manager).
            text = f"User: {call._access_key.arn} is not authorized to perform: {action}"
            raise JsonRESTError("AccessDeniedException", text)
        call._raise_access_denied()


def _conditions_hold(conditions: Sequence[Condition], call: Any, action: str) -> bool | None:
    """True if all conditions match; None if a condition requires request data that is not known."""
    context = {"aws:requestedregion": call._region}
    if action.startswith("kms:"):
        pairs = _body(call).get("EncryptionContext") or {}
        context |= {f"{_ENCRYPTION_CONTEXT}{name}".lower(): value for name, value in pairs.items()}
        context["kms:calleraccount"] = ACCOUNT
    if action == "ses:SendEmail":
        context["ses:fromaddress"] = str(_body(call).get("FromEmailAddress"))
    known = [
        one for one in conditions if one.key in context or one.key.startswith(_ENCRYPTION_CONTEXT)
    ]
    if not holds(known, context, variables=True):
        return False
    return None if len(known) < len(conditions) else True


def _deletions(call: Any, action: str, bucket: str) -> list[tuple[str, str]]:
    """The action and resource of each object that DeleteObjects names; empty for other calls.

    AWS authorizes the deletion of a version as s3:DeleteObjectVersion (S3 API Reference,
    "DeleteObjects").
    """
    if action != "s3:DeleteObject" or "/" in bucket:
        return []
    objects = ElementTree.fromstring(call._body).iterfind("{*}Object")  # noqa: S314 sent by the services of the sandbox
    return [
        (
            f"{action}Version" if one.findtext("{*}VersionId") else action,
            f"{bucket}/{one.findtext('{*}Key')}",
        )
        for one in objects
    ]


def _statements(policies: Iterable[Any]) -> list[Any]:
    return [
        row
        for policy in policies
        for row in raw_statements(access_control.IAMPolicy(policy)._policy_json)
    ]


def _resource(call: Any, action: str, resource: str) -> str:
    """The ARN of the resource that the request names; "*" if the request names no resource in a
    known format.
    """
    if resource != "*" and not resource.endswith(":::*"):
        return resource
    body = _body(call)
    region = call._region
    target = (
        body.get("SecretId")
        or body.get("TableName")
        or body.get("KeyId")
        or body.get("TopicArn")
        or body.get("RoleArn")
    )
    if action == "dynamodb:BatchGetItem":
        # The services name one table per request.
        (target,) = body["RequestItems"]
    if not isinstance(target, str):
        return "*"
    if target.startswith("arn:"):
        return target
    if action.startswith("secretsmanager:"):
        secrets = secretsmanager_backends[call.account_id][region].secrets
        return (
            secrets[target].arn
            if target in secrets
            else f"arn:aws:secretsmanager:{region}:{call.account_id}:secret:{target}"
        )
    if action.startswith("dynamodb:"):
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        return f"arn:aws:dynamodb:{region}:{call.account_id}:table/{target}{index}"
    return "*"


def _body(call: Any) -> dict[str, Any]:
    raw = call._body
    if isinstance(raw, bytes | str) and raw[:1] in (b"{", "{"):
        try:
            parsed = json.loads(raw)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
    return {
        key: value[0] if isinstance(value, list) else value
        for key, value in (call._data or {}).items()
    }
