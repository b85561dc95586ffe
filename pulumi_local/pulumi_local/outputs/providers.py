"""Two providers without a server: `PreviewProvider` leaves outputs unknown, `FakeProvider` derives
outputs from the URN.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi_local.aws_location import AwsLocation, from_json
from pulumi_local.errors import CommandError
from pulumi_local.outputs.fake_outputs import fake_outputs
from pulumi_local.outputs.lookup_results import invoke_or_fake
from pulumi_local.schema import Schema, schema
from pulumi_local.types import ACCOUNT, UNKNOWN, Registration

PROVIDER_PREFIX = "pulumi:providers:"
STACK_REFERENCE = "pulumi:pulumi:StackReference"


class ProviderConfigs:
    """The inputs of the declared providers, which determine the Region and the merged tags of a
    resource, and the allowed accounts.

    account: the only account of the run; "" if resources are created in the account that the
        provider allows.
    """

    def __init__(self, account: str = "") -> None:
        self._account = account
        self._inputs: dict[str, dict[str, Any]] = {}

    def declare(self, registration: Registration) -> None:
        if registration.type.startswith(PROVIDER_PREFIX):
            self._inputs[registration.urn] = {
                key: from_json(value) for key, value in registration.inputs.items()
            }

    def of(self, registration: Registration) -> Mapping[str, Any]:
        return self._inputs.get(registration.provider.rpartition("::")[0], {})

    def location(self, registration: Registration, default: str = ACCOUNT) -> AwsLocation:
        """The account of the provider, and the Region of the resource, by default the Region of the
        provider.

        default: the account of a provider that does not set allowedAccountIds.
        """
        location = AwsLocation.of(self.of(registration), default)
        return location.with_region(registration.inputs.get("region"))

    def tags(self, registration: Registration) -> dict[str, Any]:
        """The default tags of the provider merged with the tags of the resource, as in
        `tagsAll`.
        """
        default = self.of(registration).get("defaultTags")
        base = default.get("tags") or {} if isinstance(default, dict) else {}
        own = registration.inputs.get("tags")
        return {**base, **own} if isinstance(own, dict) else dict(base)

    def inputs(self, registration: Registration) -> dict[str, Any]:
        """The inputs of an AWS resource with its Region and its merged tags; the inputs of any
        other resource.
        """
        known = schema(registration.type)
        if known is None:
            return registration.inputs
        merged = {"tagsAll": self.tags(registration)} if known.taggable else {}
        place = {"region": self.location(registration).region} if "region" in known.outputs else {}
        return {
            **{key: value for key, value in registration.inputs.items() if key != "tags"},
            **merged,
            **place,
        }

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Declare a provider. Returns its ID and outputs. Raises CommandError if the provider does
        not allow the account.
        """
        plain = {key: from_json(value) for key, value in registration.inputs.items()}
        allowed, forbidden = plain.get("allowedAccountIds"), plain.get("forbiddenAccountIds")
        if self._account and isinstance(allowed, list) and allowed and self._account not in allowed:
            listed = ", ".join(str(item) for item in allowed)
            raise CommandError(
                f"{registration.urn}: AWS account {self._account} is not in allowedAccountIds "
                f"({listed}). The emulator has account {self._account} only: set it in the stack "
                "file, or choose another stack."
            )
        if isinstance(forbidden, list) and self._account in forbidden:
            raise CommandError(
                f"{registration.urn}: AWS account {self._account} is in forbiddenAccountIds."
            )
        self.declare(registration)
        return str(uuid.uuid5(uuid.NAMESPACE_URL, registration.urn)), dict(registration.inputs)


class _LocalProvider(ABC):
    """A provider without a server.

    account: the account of a provider that does not set allowedAccountIds.
    examples: results of functions, see `invoke_or_fake`.
    faked_functions: tokens of the functions that read an account and that the program calls.
    uses_account: True if a result contains `account`.
    """

    def __init__(self, account: str = ACCOUNT, examples: Sequence[Mapping[str, Any]] = ()) -> None:
        self._account = account
        self._examples = examples
        self._providers = ProviderConfigs()
        self.faked_functions: set[str] = set()
        self.uses_account = False

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Return the ID and the outputs. Raises CommandError for an unknown AWS type."""
        if registration.type.startswith(PROVIDER_PREFIX):
            return self._providers.create(registration)
        if registration.type == STACK_REFERENCE:
            # The exports of another stack are unknown in every pass: a rule that needs them is
            # undecided.
            return registration.import_id, {
                "name": registration.import_id,
                "outputs": UNKNOWN,
                "secretOutputNames": [],
            }
        known = schema(registration.type)
        if known is None and registration.type.startswith("aws:"):
            raise CommandError(
                f"{registration.urn}: the installed pulumi-aws has no resource type "
                f"{registration.type}."
            )
        identity, outputs = self._outputs(registration, known)
        if known is not None and known.taggable:
            outputs["tagsAll"] = self._providers.tags(registration)
        return identity, outputs

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        location = AwsLocation.of(provider, self._account)
        self._record(token, location)
        return invoke_or_fake(token, args, self.faked_functions, location, self._examples)

    def _record(self, token: str, location: AwsLocation) -> None:
        if token.startswith("aws:") and location.account == self._account:
            self.uses_account = True

    @abstractmethod
    def _outputs(
        self, registration: Registration, known: Schema | None
    ) -> tuple[str, dict[str, Any]]:
        """The ID and the outputs of a resource. known: the schema of the type; None for a type in
        another package.
        """


class PreviewProvider(_LocalProvider):
    """A first preview: IDs and computed outputs are unknown, inputs are known."""

    def _outputs(
        self, registration: Registration, known: Schema | None
    ) -> tuple[str, dict[str, Any]]:
        # AWS does not set optional properties: they are absent, as in a real preview.
        computed = (
            [name for name, property_ in known.outputs.items() if not property_.optional]
            if known
            else []
        )
        return "", {**dict.fromkeys(computed, UNKNOWN), **registration.inputs}


class FakeProvider(_LocalProvider):
    """Known outputs: fake IDs, ARNs and other outputs, the same in every run."""

    def _outputs(
        self, registration: Registration, known: Schema | None
    ) -> tuple[str, dict[str, Any]]:
        location = self._providers.location(registration, self._account)
        self._record(registration.type, location)
        return fake_outputs(registration, known, location)
