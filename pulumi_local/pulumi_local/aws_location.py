"""The AWS account and Region in which a provider creates resources."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pulumi_local.command import REGION_VARIABLES
from pulumi_local.types import ACCOUNT, UNKNOWN

DEFAULT_REGION: Final = "eu-west-1"


@dataclass(frozen=True)
class AwsLocation:
    account: str = ACCOUNT
    region: str = DEFAULT_REGION

    @classmethod
    def of(cls, provider: Mapping[str, Any], default: str = ACCOUNT) -> "AwsLocation":
        """The location of a provider with these inputs: the first of allowedAccountIds, and region.
        An unset or unknown Region is that of the environment.

        default: the account of a provider that does not set allowedAccountIds.
        """
        accounts = from_json(provider.get("allowedAccountIds"))
        account = (
            str(accounts[0])
            if isinstance(accounts, list) and accounts and accounts[0] != UNKNOWN
            else default
        )
        region = region_of_environment() or DEFAULT_REGION
        return cls(account, region).with_region(provider.get("region"))

    def with_region(self, region: Any) -> "AwsLocation":
        """The same account in another Region. An unset or unknown Region changes nothing."""
        return replace(self, region=str(region)) if region and region != UNKNOWN else self


def region_of_environment() -> str:
    """The Region in the variables that the AWS SDKs read, "" if none is set."""
    return next((region for name in REGION_VARIABLES if (region := os.environ.get(name))), "")


def region_variables(config: Mapping[str, str]) -> dict[str, str]:
    """The variables of the Region for a program that calls an AWS SDK: the Region of the
    environment, otherwise `aws:region` of the stack.
    """
    region = region_of_environment() or config.get("aws:region", "")
    return dict.fromkeys(REGION_VARIABLES, region) if region not in ("", UNKNOWN) else {}


def from_json(value: Any) -> Any:
    """Parse a nested setting, which the SDK passes to providers as JSON text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
