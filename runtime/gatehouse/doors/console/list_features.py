"""GET /v1/features: what can be switched off, and what is."""

from __future__ import annotations

from gatehouse.core.features import FEATURES
from gatehouse.doors.console.caller import Door
from gatehouse.wire.operate import FeatureList, FeatureView


async def list_features(door: Door) -> FeatureList:
    """List the features of a deployment. They are switched by GATEHOUSE_FEATURES and a restart."""
    return FeatureList(
        features=[
            FeatureView(name=one.name, door=one.door, enabled=one.name not in door.features_off, meaning=one.meaning)
            for one in FEATURES
        ]
    )
