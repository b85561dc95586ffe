"""GET /v1/features: what can be switched off, and what is."""

from __future__ import annotations

from gatehouse.core.features import FEATURES
from gatehouse.doors.console.caller import Door
from gatehouse.wire.operate import FeatureList, FeatureView


async def list_features(service: Door) -> FeatureList:
    """List the features of a deployment. They are switched by GATEHOUSE_FEATURES and a restart."""
    return FeatureList(
        features=[
            FeatureView(name=one.name, service=one.service, enabled=one.name not in service.features_off, meaning=one.meaning)
            for one in FEATURES
        ]
    )
