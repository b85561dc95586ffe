"""Tags of every resource, including its data classification."""

from typing import Literal

from components.naming import PROJECT
from components.settings.model import Settings

DataClass = Literal["none", "internal", "confidential", "secret", "log"]
"""Value of the tag DataClass.

none: no data. internal: configuration. confidential: data of users. secret: credentials and keys. log: logs and audit trail.
"""


def default_tags(settings: Settings) -> dict[str, str]:
    """The default tags of the provider. A resource overrides DataClass."""
    return {
        "Project": PROJECT,
        "Environment": settings.environment,
        "Owner": settings.owner,
        "CostCentre": settings.cost_centre,
        "ManagedBy": "pulumi",
        "DataClass": "none",
    }


def tags(data_class: DataClass, **more: str) -> dict[str, str]:
    """The tags of a resource: its data class, and others such as Name."""
    return {"DataClass": data_class, **more}
