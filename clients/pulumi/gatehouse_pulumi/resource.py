"""The base of the resources of Pulumi programs."""

from collections.abc import Mapping
from typing import Any

from pulumi import CustomResource, Output, ResourceOptions

from gatehouse_pulumi.objects import DATA


class Resource(CustomResource):
    def _internal_init(
        self, resource_name: str, options: ResourceOptions | None, arguments: Mapping[str, Any]
    ) -> None:
        """With the name that the packages of Pulumi use, so that pulumi_local finds the line of the
        program.
        """
        token = f"gatehouse:index:{type(self).__name__}"
        schema = DATA["schema"]["resources"][token]
        # The engine returns outputs only for the properties that a resource has.
        properties = {**dict.fromkeys(schema["properties"]), **arguments}
        for name, value in schema["inputProperties"].items():
            if value.get("secret") and name in arguments:
                properties[name] = Output.secret(arguments[name])
        super().__init__(token, resource_name, properties, options)
