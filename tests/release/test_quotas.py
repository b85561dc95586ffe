"""Quotas that are too low for a stack."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from release.quotas import (
    ADDRESSES,
    EVENT_SUBSCRIPTIONS,
    FARGATE_CPU,
    GATEWAY_ENDPOINTS,
    NAT_GATEWAYS,
    VPCS,
    exceeded_quotas,
)
from release.stack_file import Stack
from sandbox.emulator.sessions import session
from tests.components.program import run
from tests.components.settings.stack_settings import raw_settings

REGION, ACCOUNT = "eu-west-1", "123456789012"


def stack(name: str = "prod", **changes: Any) -> Stack:
    return Stack(name, ACCOUNT, REGION, "", settings=raw_settings(name, changes))


def account(
    *,
    concurrency: int = 1000,
    unreserved: int = 1000,
    reserved: int | None = None,
    vcpus: int = 1000,
    addresses: int = 0,
    vpcs: int = 0,
    endpoints: int = 0,
    nats: int = 0,
    subscriptions: int = 0,
    trails: Sequence[str] = (),
    log_policies: Sequence[str] = (),
    channels: Sequence[tuple[str, str]] = (),
) -> Callable[[str], Any]:
    """Clients of an account. reserved: concurrency of the functions; None if they do not exist.
    channels: Slack channels by name of their configuration.
    """

    def client(service: str) -> Any:
        created = session("x", "x", region=REGION).client(service)
        stub = Stubber(created)
        if service == "lambda":
            limits = {
                "ConcurrentExecutions": concurrency,
                "UnreservedConcurrentExecutions": unreserved,
            }
            stub.add_response("get_account_settings", {"AccountLimit": limits})
            for _ in range(10):
                if reserved is None:
                    stub.add_client_error(
                        "get_function_concurrency",
                        "ResourceNotFoundException",
                        http_status_code=404,
                    )
                else:
                    response = {"ReservedConcurrentExecutions": reserved}
                    stub.add_response("get_function_concurrency", response, {"FunctionName": ANY})
        elif service == "service-quotas":
            name, code, value = next(quotas)
            quota: dict[str, Any] = {"QuotaCode": code, "Value": float(value)}
            stub.add_response(
                "get_service_quota", {"Quota": quota}, {"ServiceCode": name, "QuotaCode": code}
            )
        elif service == "cloudtrail":
            rows = [{"Name": name, "IsMultiRegionTrail": True} for name in trails]
            stub.add_response("describe_trails", {"trailList": rows})
        elif service == "logs":
            rows = [{"policyName": name} for name in log_policies]
            stub.add_response("describe_resource_policies", {"resourcePolicies": rows})
        elif service == "chatbot":
            rows = [
                {
                    **dict.fromkeys(("SlackTeamName", "SlackChannelName"), "x"),
                    **dict.fromkeys(("ChatConfigurationArn", "IamRoleArn"), "x" * 20),
                    **{"SlackTeamId": "T01", "SlackChannelId": channel, "SnsTopicArns": []},
                    "ConfigurationName": name,
                }
                for name, channel in channels
            ]
            stub.add_response(
                "describe_slack_channel_configurations", {"SlackChannelConfigurations": rows}
            )
        elif service == "rds":
            rows = [{"CustSubscriptionId": "gatehouse-prod-db-instance"}]
            rows += [{"CustSubscriptionId": "gatehouse-dev-db-instance"}] * subscriptions
            stub.add_response("describe_event_subscriptions", {"EventSubscriptionsList": rows})
        else:
            zones = [
                {"SubnetId": f"subnet-{zone}", "AvailabilityZone": f"{REGION}{zone}"}
                for zone in "ab"
            ]
            stub.add_response("describe_subnets", {"Subnets": zones})
            gateways = [
                {"SubnetId": "subnet-a", "State": "deleted"},
                {"SubnetId": "subnet-b", "State": "available"},
                *[{"SubnetId": "subnet-a", "State": "available"}] * nats,
            ]
            stub.add_response("describe_nat_gateways", {"NatGateways": gateways})
            rows = [{"VpcEndpointType": "Gateway"}] * endpoints
            stub.add_response("describe_vpc_endpoints", {"VpcEndpoints": rows})
            stub.add_response(
                "describe_addresses", {"Addresses": [{"PublicIp": "198.51.100.1"}] * addresses}
            )
            stub.add_response("describe_vpcs", {"Vpcs": [{"VpcId": "vpc-1"}] * vpcs})
        stub.activate()
        return created

    quotas = iter(
        [
            ("fargate", FARGATE_CPU, vcpus),
            ("ec2", ADDRESSES, 5),
            ("vpc", NAT_GATEWAYS, 5),
            ("vpc", VPCS, 5),
            ("vpc", GATEWAY_ENDPOINTS, 20),
            ("rds", EVENT_SUBSCRIPTIONS, 20),
        ]
    )
    return client


@pytest.mark.parametrize(
    ("concurrency", "unreserved", "reserved", "accepted"),
    [
        (10, 10, None, False),
        (109, 109, None, True),
        (108, 108, None, False),
        (1000, 100, 9, True),
        (1000, 100, None, False),
    ],
)
def test_concurrency_that_cannot_be_reserved_is_reported(
    concurrency: int, unreserved: int, reserved: int | None, accepted: bool
) -> None:
    messages = exceeded_quotas(
        stack(), account(concurrency=concurrency, unreserved=unreserved, reserved=reserved)
    )
    assert len(messages) == (0 if accepted else 1)
    for message in messages:
        assert "--service-code lambda --quota-code L-B99A9384 --desired-value" in message
        assert "reserve_function_concurrency: false" in message


def test_functions_without_reserved_concurrency_need_no_quota() -> None:
    unreserved = stack("dev", reserve_function_concurrency=False)
    assert exceeded_quotas(unreserved, account(concurrency=10, unreserved=10)) == []


def test_tasks_of_a_deployment_are_compared_with_the_quota() -> None:
    (message,) = exceeded_quotas(stack(), account(vcpus=6))
    assert "--service-code fargate --quota-code L-3032A538 --desired-value" in message
    assert exceeded_quotas(stack("dev"), account(vcpus=6)) == []


def test_used_addresses_are_counted() -> None:
    changes = {"network.nat": "per_zone"}
    assert exceeded_quotas(stack(**changes), account(addresses=2)) == []
    (message,) = exceeded_quotas(stack(**changes), account(addresses=3))
    assert "uses 3 of 5" in message


def test_vpcs_and_gateway_endpoints_are_counted() -> None:
    changes = {"network.nat": "per_zone"}
    assert exceeded_quotas(stack(**changes), account(vpcs=4, endpoints=18)) == []
    vpcs, endpoints = exceeded_quotas(stack(**changes), account(vpcs=5, endpoints=19))
    assert "existing_resources.vpc_id" in vpcs
    assert "19 of 20" in endpoints


def test_nat_gateways_of_a_zone_and_event_subscriptions_are_counted() -> None:
    assert exceeded_quotas(stack(), account(nats=4, subscriptions=17)) == []
    nats, subscriptions = exceeded_quotas(stack(), account(nats=5, subscriptions=18))
    assert "NAT gateways in eu-west-1a" in nats
    assert "18 of 20" in subscriptions
    rows = run("prod").of_type("rds.EventSubscription")
    assert f"needs {len(rows)} of the RDS event subscriptions" in subscriptions


def test_missing_trail_is_reported() -> None:
    shared = stack(existing_resources={"trail": True})
    assert exceeded_quotas(shared, account(trails=["other"])) == []
    (message,) = exceeded_quotas(shared, account())
    assert "no multi-region CloudTrail trail" in message


def test_quotas_that_aws_does_not_raise_are_compared() -> None:
    others = [f"other-{number}" for number in range(9)]
    own = ["gatehouse-prod-findings-delivery", "gatehouse-prod-waf-delivery"]
    accepted = account(trails=[*others[:4], "gatehouse-prod-trail"], log_policies=others[:8] + own)
    assert exceeded_quotas(stack(), accepted) == []
    (message,) = exceeded_quotas(stack(), account(trails=others[:5]))
    assert "5 other CloudTrail trails" in message
    (message,) = exceeded_quotas(stack(), account(log_policies=others))
    assert "9 other resource policies of CloudWatch Logs" in message
    shared: dict[str, Any] = {"existing_resources": {"trail": True, "log_policies": True}}
    assert exceeded_quotas(stack(**shared), account(trails=others[:5], log_policies=others)) == []


def test_slack_channel_of_another_stack_is_reported() -> None:
    chat = stack(**{"monitoring.slack_channel": "T01/C01"})
    accepted = [("gatehouse-prod-alarms", "C01"), ("gatehouse-dev-alarms", "C02")]
    assert exceeded_quotas(chat, account(channels=accepted)) == []
    (message,) = exceeded_quotas(chat, account(channels=[("gatehouse-dev-alarms", "C01")]))
    assert "T01/C01 already belongs to gatehouse-dev-alarms" in message


def test_quota_that_cannot_be_read_is_not_checked() -> None:
    def denied(service: str) -> Any:
        raise ClientError(
            {"Error": {"Code": "AccessDeniedException", "Message": ""}}, "GetServiceQuota"
        )

    assert exceeded_quotas(stack(), denied) == []
