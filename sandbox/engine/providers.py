"""Two clouds without a server: one that knows nothing yet (a first preview) and one that invents every answer."""

import json
import uuid
from typing import Any

from sandbox.engine.fake_outputs import invent
from sandbox.engine.invokes import DEFAULT_REGION, invoke_or_invent
from sandbox.engine.schema import Schema, schema
from sandbox.engine.types import UNKNOWN, Deployment, Registration
from sandbox.errors import SandboxError

ACCOUNT = "123456789012"
STACK_REFERENCE = "pulumi:pulumi:StackReference"
PROVIDER_PREFIX = "pulumi:providers:"


class ProviderSettings:
    """What the declared providers say: region, default tags, and the accounts they may be used with."""

    def __init__(self, account: str = ACCOUNT) -> None:
        self.account = account
        self._inputs: dict[str, dict[str, Any]] = {}

    def declare(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Take a `pulumi:providers:*` resource; its id comes from its URN. Raises SandboxError for a wrong account."""
        plain = {key: _unjson(value) for key, value in registration.inputs.items()}
        allowed, forbidden = plain.get("allowedAccountIds"), plain.get("forbiddenAccountIds")
        if isinstance(allowed, list) and allowed and self.account not in allowed:
            listed = ", ".join(str(item) for item in allowed)
            raise SandboxError(
                f"{registration.urn}: AWS account {self.account} is not among allowedAccountIds ({listed}). "
                f"The sandbox is account {self.account}: put that number in the stack file, or choose another one."
            )
        if isinstance(forbidden, list) and self.account in forbidden:
            raise SandboxError(f"{registration.urn}: AWS account {self.account} is among forbiddenAccountIds.")
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, registration.urn))
        self._inputs[registration.urn] = plain
        return identity, dict(registration.inputs)

    def region(self, registration: Registration) -> str:
        """The resource's own `region`, else its provider's, else the sandbox's default."""
        own = registration.inputs.get("region") or self._of(registration).get("region")
        return str(own) if own and own != UNKNOWN else DEFAULT_REGION

    def tags(self, registration: Registration) -> dict[str, Any]:
        """The provider's default tags with the resource's own on top, as `tagsAll` has them."""
        default = self._of(registration).get("defaultTags")
        base = default.get("tags") or {} if isinstance(default, dict) else {}
        own = registration.inputs.get("tags")
        return {**base, **own} if isinstance(own, dict) else dict(base)

    def _of(self, registration: Registration) -> dict[str, Any]:
        return self._inputs.get(registration.provider.rpartition("::")[0], {})


class UnknownCloud:
    """A first preview: ids and everything that AWS would decide are unknown; what the program gave is known.

    invented: functions that were answered with made-up values.
    """

    def __init__(self, account: str = ACCOUNT) -> None:
        self._providers = ProviderSettings(account)
        self.invented: set[str] = set()

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if registration.type.startswith(PROVIDER_PREFIX):
            return self._providers.declare(registration)
        outputs = dict(registration.inputs)
        if registration.type == STACK_REFERENCE:
            return _another_stack(registration)
        known = _schema_of(registration)
        if known is None:
            return "", outputs
        # A property that pulumi-aws may leave unset is one that AWS does not fill in: absent, as in a real preview.
        outputs.update(
            {name: UNKNOWN for name, property_ in known.outputs.items() if name not in outputs and not property_.optional}
        )
        if known.taggable:
            outputs["tagsAll"] = self._providers.tags(registration)
        return "", outputs

    def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
        return invoke_or_invent(token, args, self._providers.account, self.invented)


class InventedCloud:
    """Everything known: ids, ARNs and other outputs are made up from the URN, the same in every run.

    invented: functions that were answered with made-up values.
    """

    def __init__(self, account: str = ACCOUNT) -> None:
        self._providers = ProviderSettings(account)
        self.invented: set[str] = set()

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if registration.type.startswith(PROVIDER_PREFIX):
            return self._providers.declare(registration)
        if registration.type == STACK_REFERENCE:
            return _another_stack(registration)
        known = _schema_of(registration)
        region = self._providers.region(registration)
        identity, outputs = invent(registration, known, region, self._providers.account)
        if known is not None and known.taggable:
            outputs["tagsAll"] = self._providers.tags(registration)
        return identity, outputs

    def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
        return invoke_or_invent(token, args, self._providers.account, self.invented)


def refers_elsewhere(deployment: Deployment) -> bool:
    """True when the program reads the exports of another stack."""
    return any(resource.registration.type == STACK_REFERENCE for resource in deployment.resources)


def _another_stack(registration: Registration) -> tuple[str, dict[str, Any]]:
    """What another stack exports is known to nobody here, in either pass: a rule that asks for it is undecided."""
    return registration.import_id, {"name": registration.import_id, "outputs": UNKNOWN, "secretOutputNames": []}


def _schema_of(registration: Registration) -> Schema | None:
    """None for a type of another package; SandboxError for an aws type that does not exist."""
    known = schema(registration.type)
    if known is None and registration.type.startswith("aws:"):
        raise SandboxError(f"{registration.urn}: the installed pulumi-aws has no resource type {registration.type}.")
    return known


def _unjson(value: Any) -> Any:
    """Providers send nested settings as JSON text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
