"""The console behind CloudFront in the emulator, deployed by the deploy role."""

import json

import pytest

from tests.components.settings.stack_settings import raw_settings
from tests.sandbox.emulator.deploy_role import STACK, deployment

CLOUDFRONT = json.dumps(raw_settings(STACK, {"services.console.hosting": "cloudfront"}))


@pytest.mark.requirement("CG-13", "CG-18")
def test_deploy_role_is_sufficient_with_cloudfront() -> None:
    with deployment(CLOUDFRONT) as emulator:
        assert emulator.permissions.denied == []
        actions = emulator.permissions.used_actions["pipeline"]
        assert {"cloudfront:CreateFunction", "logs:CreateDelivery", "s3:PutObject"} <= actions
        (distribution,) = emulator.client("cloudfront", "us-east-1").list_distributions()["DistributionList"]["Items"]
    assert distribution["Aliases"]["Items"] == ["console.gatehouse.example.com"]
