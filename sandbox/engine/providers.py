"""Two providers without a server: `PreviewProvider` leaves outputs unknown, `FakeProvider` derives outputs from the URN."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from sandbox.engine.aws_location import AwsLocation, from_json
from sandbox.engine.fake_outputs import fake_outputs
from sandbox.engine.invokes import invoke_or_fake
from sandbox.engine.schema import Schema, schema
from sandbox.engine.steps import PROVIDER_PREFIX, ProviderInputs
from sandbox.engine.types import UNKNOWN, Registration
from sandbox.errors import SandboxError

STACK_REFERENCE = "pulumi:pulumi:StackReference"


class ProviderConfigs(ProviderInputs):
    """The configuration of the declared providers: region, default tags and allowed accounts.

    account: the only account of the run; "" if resources are created in the account that the provider allows.
    """

    def __init__(self, account: str = "") -> None:
        super().__init__()
        self._account = account

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Declare a provider. Returns its ID and outputs. Raises SandboxError if the provider does not allow the account."""
        plain = {key: from_json(value) for key, value in registration.inputs.items()}
        allowed, forbidden = plain.get("allowedAccountIds"), plain.get("forbiddenAccountIds")
        if self._account and isinstance(allowed, list) and allowed and self._account not in allowed:
            listed = ", ".join(str(item) for item in allowed)
            raise SandboxError(
                f"{registration.urn}: AWS account {self._account} is not in allowedAccountIds ({listed}). "
                f"The emulator has account {self._account} only: set it in the stack file, or choose another stack."
            )
        if isinstance(forbidden, list) and self._account in forbidden:
            raise SandboxError(f"{registration.urn}: AWS account {self._account} is in forbiddenAccountIds.")
        self.declare(registration)
        return str(uuid.uuid5(uuid.NAMESPACE_URL, registration.urn)), dict(registration.inputs)


class _LocalProvider(ABC):
    """A provider without a server.

    unknown_results: results of functions that read an account are unknown instead of fake. faked_functions: tokens of these
    functions that the program calls.
    """

    def __init__(self, *, unknown_results: bool = False) -> None:
        self._unknown_results = unknown_results
        self._providers = ProviderConfigs()
        self.faked_functions: set[str] = set()

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Return the ID and the outputs. Raises SandboxError for an AWS type that does not exist."""
        if registration.type.startswith(PROVIDER_PREFIX):
            return self._providers.create(registration)
        if registration.type == STACK_REFERENCE:
            # The exports of another stack are unknown in every pass: a rule that needs them is undecided.
            return registration.import_id, {"name": registration.import_id, "outputs": UNKNOWN, "secretOutputNames": []}
        known = schema(registration.type)
        if known is None and registration.type.startswith("aws:"):
            raise SandboxError(f"{registration.urn}: the installed pulumi-aws has no resource type {registration.type}.")
        identity, outputs = self._outputs(registration, known)
        if known is not None and known.taggable:
            outputs["tagsAll"] = self._providers.tags(registration)
        return identity, outputs

    def invoke(self, token: str, args: dict[str, Any], provider: Mapping[str, Any]) -> dict[str, Any] | None:
        result = invoke_or_fake(token, args, self.faked_functions, AwsLocation.of(provider))
        return None if self._unknown_results and token in self.faked_functions else result

    @abstractmethod
    def _outputs(self, registration: Registration, known: Schema | None) -> tuple[str, dict[str, Any]]:
        """The ID and the outputs of a resource. known: the schema of the type; None for a type in another package."""


class PreviewProvider(_LocalProvider):
    """A first preview: IDs and computed outputs are unknown, inputs are known."""

    def _outputs(self, registration: Registration, known: Schema | None) -> tuple[str, dict[str, Any]]:
        # AWS does not set optional properties: they are absent, as in a real preview.
        computed = [name for name, property_ in known.outputs.items() if not property_.optional] if known else []
        return "", {**dict.fromkeys(computed, UNKNOWN), **registration.inputs}


class FakeProvider(_LocalProvider):
    """Known outputs: fake IDs, ARNs and other outputs, the same in every run."""

    def _outputs(self, registration: Registration, known: Schema | None) -> tuple[str, dict[str, Any]]:
        return fake_outputs(registration, known, self._providers.location(registration))
