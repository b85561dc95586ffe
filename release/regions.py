"""Finds settings whose AWS region does not exist."""

import difflib
import tomllib
from functools import cache

import boto3
import botocore

from components.settings.fields import shown
from release.stack_file import ROOT, Stack

_KEYS = ("region", "second_region")
_NEW = "If AWS opened the region recently, add it to policies.toml"
ALLOWED_REGIONS: list[str] = tomllib.loads((ROOT / "policies.toml").read_text())["regions"]


def unknown_regions(stack: Stack) -> list[str]:
    """One message for each region in the settings that neither botocore nor policies.toml lists.

    A region that is newer than botocore therefore needs one line in a file, and no new version of a
    library.
    """
    regions = {
        key: stack.settings[key] for key in _KEYS if isinstance(stack.settings.get(key), str)
    }
    unknown = {
        key: region
        for key, region in regions.items()
        if region not in {*_released_regions(), *ALLOWED_REGIONS}
    }
    return [
        f"{stack.file}: {key} is {shown(region)}, which is no AWS region in botocore "
        f"{botocore.__version__}; did you mean {_nearest(region)}? {_NEW}"
        for key, region in unknown.items()
    ]


@cache
def _released_regions() -> frozenset[str]:
    return frozenset(boto3.Session().get_available_regions("ec2"))


def _nearest(region: str) -> str:
    return difflib.get_close_matches(region, sorted(_released_regions()), n=1, cutoff=0)[0]
