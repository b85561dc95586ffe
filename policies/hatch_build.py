"""Adds the package `pulumi_local` to the wheel, because no index has its distribution."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PulumiLocal(BuildHookInterface):  # type: ignore[type-arg]  # the type of its configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation finds the package in `dev-mode-dirs`: a copy would be outdated.
        if version == "standard":
            build_data["force_include"]["../pulumi_local/pulumi_local"] = "pulumi_local"
