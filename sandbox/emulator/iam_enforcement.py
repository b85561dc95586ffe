"""IAM for the emulator: decides calls by the caller's own policies and records what each role used."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam import access_control
from moto.iam.models import iam_backends

from policies.analysis.iam.conditions import holds
from policies.analysis.iam.grammar import listed, matches, parse_conditions, raw_statements

OPERATOR = "sandbox-operator"
"""The IAM user with which the sandbox itself calls the emulator; never counted, always allowed."""

_IAM_PREFIX = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag", "execute-api": "execute-api"}
"""Services whose name in a signature differs from their prefix in IAM actions."""

_IAM_ACTION = {"budgets:CreateBudget": "budgets:ModifyBudget"}
"""Operations that IAM knows by another name (Service Authorization Reference)."""


class Permissions:
    """Replaces moto's own evaluation, which knows neither resources nor most condition operators.

    Of a statement's conditions only those on aws:RequestedRegion can be evaluated here (moto has no request context):
    with any other one an Allow counts as if it held, a Deny as if it did not, and `stripped_conditions` names each. Resources are
    compared where the request names one; for the other calls a statement for any resource counts.
    """

    def __init__(self, account: str) -> None:
        self.account = account
        self.stripped_conditions: list[str] = []
        self.used_actions: dict[str, set[str]] = {}
        self.denied: list[str] = []
        self._lock = threading.Lock()

    def install(self) -> Callable[[], None]:
        """Take over the decision in moto; the returned function gives it back."""
        request: Any = access_control.IAMRequestBase
        before_check, before_signature = request.check_action_permitted, request.check_signature
        request.check_action_permitted = lambda call, resource: self._decide(call, resource)
        # The proof is about permissions; moto rebuilds signatures from parsed requests and gets some paths wrong.
        request.check_signature = lambda call: None

        def restore() -> None:
            request.check_action_permitted, request.check_signature = before_check, before_signature

        return restore

    def enforce(self, on: bool) -> None:
        """Switch the check of every call on or off."""
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if on else float("inf")
        ActionAuthenticatorMixin.request_count = 0

    def granted_actions(self, role: str) -> set[str]:
        """The actions (patterns) that the role's identity policies allow."""
        backend = iam_backends[self.account]["aws"]
        documents: list[Any] = [backend.get_role_policy(role, name)[1] for name in backend.list_role_policies(role)]
        documents += backend.list_attached_role_policies(role)[0]
        statements = [statement for document in documents for statement in _statements(document)]
        return {action for item in statements if item.get("Effect") == "Allow" for action in listed(item.get("Action"))}

    def _decide(self, call: Any, resource: str) -> None:
        key = call._access_key
        name: str = getattr(key, "_owner_role_name", "") or getattr(key, "_owner_user_name", "")
        if name == OPERATOR or call._action == "sts:GetCallerIdentity":
            return
        service, _, operation = call._action.partition(":")
        action = f"{_IAM_PREFIX.get(service, service)}:{operation}"
        action = _IAM_ACTION.get(action, action)
        target = _resource(call, action, resource)
        boundary = self._boundary(key)
        granted = self._allows(key.collect_policies(), call, name, action, target)
        granted = granted or (action.startswith("kms:") and self._key_allows(call, name, action))
        # What a boundary does not allow is refused too, and it grants nothing (IAM user guide, "Permissions boundaries").
        if not granted or (boundary is not None and not self._allows([boundary], call, name, action, target)):
            self._refuse(call, name, action, target)
        with self._lock:
            self.used_actions.setdefault(name, set()).add(action)

    def _allows(self, documents: Iterable[Any], call: Any, name: str, action: str, target: str) -> bool:
        """Whether one of these documents allows the call; one that denies it ends the call here."""
        allowed = False
        for document in documents:
            for statement in _statements(document):
                if not _concerns(statement, action, target):
                    continue
                conditions = statement.get("Condition") or {}
                met = _met(conditions, call._region)
                if met is None:
                    self._strip(name, action, conditions)
                if statement.get("Effect") == "Deny" and met:
                    self._refuse(call, name, action, target)
                allowed = allowed or (statement.get("Effect") == "Allow" and met is not False)
        return allowed

    def _boundary(self, key: Any) -> Any:
        """The policy that bounds the caller, when it is a role with one."""
        backend = iam_backends[self.account]["aws"]
        role = getattr(key, "_owner_role_name", "")
        arn = backend.get_role(role).permissions_boundary_arn if role else None
        return backend.get_policy(arn) if arn else None

    def _key_allows(self, call: Any, name: str, action: str) -> bool:
        """A key's own policy grants by itself to the roles that it names (KMS developer guide, "Key policies"); where it names
        the account, the role's policies decide."""
        from moto.kms.models import kms_backends

        keys: Any = kms_backends[self.account][call._region]
        asked = str(_body(call).get("KeyId", "")).rpartition(":")[2].removeprefix("key/")
        asked = keys.get_key_id_from_alias(asked) if asked.startswith("alias/") else asked
        role = f"arn:aws:iam::{self.account}:role/{name}"
        policy = json.loads(keys.keys[asked].policy) if asked in keys.keys else {}
        for statement in policy.get("Statement", []):
            principals = statement.get("Principal", {})
            named = role in listed(principals.get("AWS")) if isinstance(principals, dict) else False
            if named and statement["Effect"] == "Allow" and _matches(listed(statement["Action"]), action, fold=True):
                if statement.get("Condition"):
                    self._strip(name, action, statement["Condition"])
                return True
        return False

    def _strip(self, name: str, action: str, condition: dict[str, Any]) -> None:
        keys = ", ".join(f"{operator} {key}" for operator, pairs in condition.items() for key in pairs)
        text = f"{name}: {action} if {keys}"
        with self._lock:
            if text not in self.stripped_conditions:
                self.stripped_conditions.append(text)

    def _refuse(self, call: Any, name: str, action: str, target: str) -> None:
        with self._lock:
            self.denied.append(f"{name}: {action} on {target}")
        call._raise_access_denied()


def _met(conditions: dict[str, Any], region: str) -> bool | None:
    """Whether the conditions hold; None when one asks for more of the request than the region it goes to."""
    known = {"aws:requestedregion": region}
    if {key.lower() for pairs in conditions.values() for key in pairs} - set(known):
        return None
    return holds(parse_conditions(conditions), known, variables=True)


def _statements(policy: Any) -> list[Any]:
    return raw_statements(access_control.IAMPolicy(policy)._policy_json)


def _concerns(statement: dict[str, Any], action: str, target: str) -> bool:
    if "NotAction" in statement:
        if _matches(listed(statement["NotAction"]), action, fold=True):
            return False
    elif not _matches(listed(statement.get("Action")), action, fold=True):
        return False
    if target == "*":
        return True
    if "NotResource" in statement:
        return not _matches(listed(statement["NotResource"]), target)
    return _matches(listed(statement.get("Resource")), target)


def _matches(patterns: Iterable[str], text: str, *, fold: bool = False) -> bool:
    if fold:
        return any(matches(text.lower(), pattern.lower()) for pattern in patterns)
    return any(matches(text, pattern) for pattern in patterns)


def _resource(call: Any, action: str, resource: str) -> str:
    """The ARN that the request names; "*" where it names none that is known here."""
    if resource != "*" and not resource.endswith(":::*"):
        return resource
    body = _body(call)
    region = call._region
    named = body.get("SecretId") or body.get("TableName") or body.get("KeyId") or body.get("TopicArn") or body.get("RoleArn")
    if not isinstance(named, str):
        return "*"
    if named.startswith("arn:"):
        return named
    if action.startswith("secretsmanager:"):
        return _secret_arn(call.account_id, region, named)
    if action.startswith("dynamodb:"):
        return f"arn:aws:dynamodb:{region}:{call.account_id}:table/{named}"
    return "*"


def _secret_arn(account: str, region: str, name: str) -> str:
    from moto.secretsmanager.models import secretsmanager_backends

    secrets = secretsmanager_backends[account][region].secrets
    return secrets[name].arn if name in secrets else f"arn:aws:secretsmanager:{region}:{account}:secret:{name}"


def _body(call: Any) -> dict[str, Any]:
    raw = call._body
    if isinstance(raw, bytes | str) and raw[:1] in (b"{", "{"):
        try:
            parsed = json.loads(raw)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
    return {key: value[0] if isinstance(value, list) else value for key, value in (call._data or {}).items()}
