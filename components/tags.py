"""The tags that every resource carries, and the words for what kind of data it holds."""

from typing import Literal

from components.naming import PROJECT
from components.settings.model import Settings

DataClass = Literal["none", "internal", "confidential", "secret", "log"]
"""none: no data of ours. internal: configuration. confidential: what users entrust to us. secret: opens something else.
log: who did what."""


def default_tags(settings: Settings) -> dict[str, str]:
    """The tags of the provider: they reach every taggable resource; a resource's own DataClass takes the place of
    `none`."""
    return {
        "Project": PROJECT,
        "Environment": settings.environment,
        "Owner": settings.owner,
        "CostCentre": settings.cost_centre,
        "ManagedBy": "pulumi",
        "DataClass": "none",
    }


def tags(data_class: DataClass, **more: str) -> dict[str, str]:
    """A resource's own tags: its data class, and for instance Name."""
    return {"DataClass": data_class, **more}
