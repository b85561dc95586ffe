"""What the program asks for, in all three stacks, before and after anything exists."""

import json
import re
from typing import Any

import pulumi
import pytest

from components.settings.loader import parse
from tests.components.program import ROOT, Asked, Program, run, stack_file
from tests.components.settings.stack_settings import STACKS, raw_settings

MODES = [(stack, preview) for stack in STACKS for preview in (True, False)]
STATEFUL = {
    "aws:kms/key:Key",
    "aws:secretsmanager/secret:Secret",
    "aws:rds/instance:Instance",
    "aws:dynamodb/table:Table",
    "aws:s3/bucket:Bucket",
    "aws:route53/zone:Zone",
    "aws:backup/vault:Vault",
}
BY_SETTING = {
    "sharing.mode": {
        "gatehouse:sharing:SharingFunction",
        *("aws:apigateway/restApi:RestApi", "aws:apigateway/resource:Resource", "aws:apigateway/method:Method"),
        *("aws:apigateway/integration:Integration", "aws:apigateway/model:Model", "aws:apigateway/response:Response"),
        *("aws:apigateway/requestValidator:RequestValidator", "aws:apigateway/deployment:Deployment"),
        *("aws:apigateway/stage:Stage", "aws:apigateway/methodSettings:MethodSettings", "aws:lambda/alias:Alias"),
        *("aws:apigateway/domainName:DomainName", "aws:apigateway/basePathMapping:BasePathMapping"),
        "aws:ecr/repositoryPolicy:RepositoryPolicy",
    },
    "sharing.api_gateway_log_role": {"aws:apigateway/account:Account"},
    "monitoring.emails": {"aws:sns/topicSubscription:TopicSubscription"},
    "buckets.cross_region_replication, backup.cross_region_copy": {"aws:kms/replicaKey:ReplicaKey"},
    "buckets.cross_region_replication": {"aws:s3/bucketReplicationConfig:BucketReplicationConfig"},
    "backup.vault_lock": {"aws:backup/vaultLockConfiguration:VaultLockConfiguration"},
    "buckets.force_destroy": {"aws:backup/vaultPolicy:VaultPolicy"},
    "account_baseline.block_public_vpcs": {"aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions"},
    "delivery.create_oidc_provider": {"aws:iam/openIdConnectProvider:OpenIdConnectProvider"},
    "account_baseline.enabled": {
        *("gatehouse:account:AccountBaseline", "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock"),
        *("aws:ebs/encryptionByDefault:EncryptionByDefault", "aws:iam/accountPasswordPolicy:AccountPasswordPolicy"),
        *("aws:guardduty/detector:Detector", "aws:guardduty/detectorFeature:DetectorFeature"),
        *("aws:securityhub/account:Account", "aws:accessanalyzer/analyzer:Analyzer", "aws:backup/regionSettings:RegionSettings"),
        *("aws:iam/serviceLinkedRole:ServiceLinkedRole", "aws:cfg/recorder:Recorder"),
        *("aws:cfg/deliveryChannel:DeliveryChannel", "aws:cfg/recorderStatus:RecorderStatus"),
    },
}
"""Kinds of resource that a setting switches on, by the setting."""
EXPORTS = {
    *("environment", "region", "account", "accountBaseline", "cluster", "services", "migration", "rotation", "roles", "urls"),
    *("deliveryRoles", "probe", "functions"),
    *("database", "cache", "secretLinksTable", "buckets", "loadBalancer"),
}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import


def plain(inputs: dict[str, Any]) -> dict[str, str]:
    """Inputs that can be compared; an archive is the same when its path is."""
    return {k: v.path if isinstance(v, pulumi.FileArchive) else repr(v) for k, v in inputs.items()}


def internet_routes(program: Program) -> set[str]:
    return {route.name for route in program.of("ec2/route:Route")}


@pytest.mark.parametrize(("stack", "preview"), MODES)
def test_every_policy_document_is_known_before_anything_exists(stack: str, preview: bool) -> None:
    documents = run(stack, preview=preview).documents()
    assert len(documents) >= 40
    for owner, document in documents:
        if "lifecyclePolicy" not in owner:
            masking = "LogDataProtectionPolicy" in owner
            assert document["Version"] == ("2021-06-01" if masking else "2012-10-17"), owner
            assert document["Statement"], owner


@pytest.mark.parametrize("stack", STACKS)
def test_preview_and_deployment_ask_for_the_same_resources(stack: str) -> None:
    before, after = (sorted((a.type, a.name) for a in run(stack, preview=p).resources) for p in (True, False))
    assert before == after


@pytest.mark.requirement("CG-26")
def test_environments_differ_by_values_only() -> None:
    switched = set().union(*BY_SETTING.values())
    kinds = [{a.type for a in run(stack).resources} for stack in STACKS]
    assert kinds[0] - switched == kinds[1] - switched == kinds[2] - switched
    assert switched <= set().union(*kinds), "what no stack switches on is tested by nobody"


def test_environment_names_stand_in_the_settings_alone() -> None:
    files = [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]
    for file in files:
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text(encoding="utf-8"))
        found = re.findall(r"[\"'](dev|staging|prod)[\"']", code)
        assert not found or "settings" in file.parts, f"{file.name} names {found}"


def test_areas_import_no_component_of_another_area() -> None:
    base = ROOT / "components"
    files = {".".join(path.relative_to(base).with_suffix("").parts): path.read_text("utf-8") for path in base.rglob("*/*.py")}
    components = {module for module, text in files.items() if "(pulumi.ComponentResource)" in text}
    assert len(components) >= 19
    offenders = []
    for module, text in files.items():
        imported = set(re.findall(r"^from components\.([\w.]+) import", text, re.MULTILINE))
        for area, names in re.findall(r"^from components\.?(\w*) import (.+)$", text, re.MULTILINE):
            imported |= {f"{area}.{name.strip()}" for name in names.split(",")}
        own = module.partition(".")[0]
        offenders += [(module, other) for other in imported & components if other.partition(".")[0] != own]
    assert offenders == []


def test_the_same_settings_ask_for_the_same_resources_twice() -> None:
    again: Program = run.__wrapped__("prod")
    first = {(a.type, a.name): a.inputs for a in run("prod").resources}
    assert len(first) == len(run("prod").resources), "two resources of one type share a name"
    assert {(a.type, a.name): plain(a.inputs) for a in again.resources} == {k: plain(v) for k, v in first.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_has_our_provider_and_stands_in_a_component(stack: str) -> None:
    for asked in run(stack).resources:
        if asked.type.startswith("aws:"):
            assert "pulumi:providers:aws::aws" in asked.provider, asked.name
            assert "::gatehouse:" in asked.parent, asked.name


@pytest.mark.parametrize("stack", STACKS)
def test_the_provider_works_in_our_account_only(stack: str) -> None:
    (provider,) = (a for a in run(stack).resources if a.type == "pulumi:providers:aws")
    assert json.loads(provider.inputs["allowedAccountIds"]) == ["123456789012"]
    assert stack_file(stack)["pulumi:disable-default-providers"] == ["*"]


@pytest.mark.requirement("CG-19", "ECS-07")
@pytest.mark.parametrize("stack", STACKS)
def test_every_tag_is_there_and_each_taggable_resource_says_what_it_holds(stack: str) -> None:
    (provider,) = (a for a in run(stack).resources if a.type == "pulumi:providers:aws")
    default = json.loads(provider.inputs["defaultTags"])["tags"]
    assert set(default) == {"Project", "Environment", "Owner", "CostCentre", "ManagedBy", "DataClass"}
    tagged = [a for a in run(stack).resources if a.type.startswith("aws:") and "tags" in a.inputs]
    assert len(tagged) > 100
    assert all(a.inputs["tags"]["DataClass"] in {"none", "internal", "confidential", "secret", "log"} for a in tagged)


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_value_is_in_the_program(stack: str) -> None:
    forbidden = {
        "password",
        "passwords",
        "passwordWo",
        "secretString",
        "secretBinary",
        "authToken",
        "noPasswordRequired",
    }
    for asked in run(stack).resources:
        assert not forbidden & set(asked.inputs), f"{asked.type} {asked.name}"
        assert asked.type != "aws:secretsmanager/secretVersion:SecretVersion"


@pytest.mark.parametrize(("stack", "kept"), [("dev", False), ("staging", False), ("prod", True)])
def test_what_holds_data_is_kept_where_the_settings_say_so(stack: str, kept: bool) -> None:
    held = [a for a in run(stack).resources if a.type in STATEFUL | {"aws:kms/replicaKey:ReplicaKey"}]
    assert {a.type for a in held} >= STATEFUL
    assert all((a.protect, a.retain) == (kept, kept) for a in held)


@pytest.mark.parametrize("stack", STACKS)
def test_the_exports_are_those_that_others_read(stack: str) -> None:
    exports = run(stack).exports
    assert set(exports) == EXPORTS
    assert exports["environment"] == stack
    assert set(exports["services"]) == {"gateway", "console"}
    assert set(exports["services"]["gateway"]) == {"service", "taskDefinition"}
    assert set(exports["rotation"]["secrets"]) == {"pepper", "session-key", "bootstrap-token"}
    assert {"gatewayTask", "consoleTask", "migrateTask", "gatewayExecution"} <= set(exports["roles"])
    assert exports["urls"]["gateway"] == f"https://gateway.{stack_file(stack)['gatehouse:settings']['domain']}"
    assert set(exports["buckets"]) == {"data", "logs", "trail"}


@pytest.mark.requirement("CG-16", "ECS-02")
@pytest.mark.parametrize("stack", STACKS)
def test_every_bucket_has_all_of_its_guards(stack: str) -> None:
    program = run(stack)
    buckets = {a.name for a in program.of("s3/bucket:Bucket")}
    assert buckets == {"logs", "trail", "data", *(("replica-logs", "replica-data") if stack == "prod" else ())}
    for guard in ("PublicAccessBlock", "OwnershipControls", "Policy", "Versioning", "LifecycleConfiguration"):
        kind = f"s3/bucket{guard}:Bucket{guard}"
        assert {a.name for a in program.of(kind)} == buckets, guard
    for closed in program.of("s3/bucketPublicAccessBlock:BucketPublicAccessBlock"):
        flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        assert [closed.inputs[flag] for flag in flags] == [True] * 4
    sinks = {"logs", "replica-logs"}
    assert {a.name for a in program.of("s3/bucketLogging:BucketLogging")} == buckets - sinks


def test_every_part_of_a_bucket_lies_in_the_region_of_the_bucket() -> None:
    found = [a for a in run("prod").resources if a.type.startswith("aws:s3/bucket")]
    away = {a.name for a in found if a.inputs.get("region") == "eu-central-1"}
    assert away == {"replica-logs", "replica-data"}
    assert not [a for a in found if (a.name in away) != (a.inputs.get("region") == "eu-central-1")]


@pytest.mark.parametrize(("bucket", "algorithm"), [("logs", "AES256"), ("data", "aws:kms"), ("trail", "aws:kms")])
def test_only_the_log_sink_is_encrypted_by_s3_itself(bucket: str, algorithm: str) -> None:
    kind = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    (rule,) = run("prod").one(kind, bucket).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == algorithm
    assert rule["bucketKeyEnabled"] == (algorithm == "aws:kms")


@pytest.mark.parametrize(("stack", "nats"), [("dev", 1), ("staging", 1), ("prod", 3)])
def test_the_data_tier_has_no_way_out(stack: str, nats: int) -> None:
    program = run(stack)
    assert len(program.of("ec2/natGateway:NatGateway")) == nats
    assert not any(name.startswith("data") for name in internet_routes(program))
    assert {a.inputs["mapPublicIpOnLaunch"] for a in program.of("ec2/subnet:Subnet")} == {False}


@pytest.mark.requirement("ECS-03")
@pytest.mark.parametrize("stack", STACKS)
def test_only_the_load_balancer_is_reached_from_the_internet(stack: str) -> None:
    rules = run(stack).of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert {(a.inputs["securityGroupId"], a.inputs["fromPort"]) for a in rules if "cidrIpv4" in a.inputs} == {
        ("edge-id", 443),
        ("edge-id", 80),
    }
    assert all(len(a.inputs["description"]) > 10 for a in rules)


def test_the_closed_default_security_group_has_no_rule() -> None:
    (group,) = run("prod").of("ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert not {"ingress", "egress"} & set(group.inputs)


@pytest.mark.requirement("ECS-04")
def test_the_firewall_redacts_every_header_that_carries_a_key() -> None:
    (logging,) = run("prod").of("wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    fields = {entry["singleHeader"]["name"] for entry in logging.inputs["redactedFields"]}
    assert fields == {"authorization", "cookie", "x-api-key"}
    (acl,) = run("prod").of("wafv2/webAcl:WebAcl")
    assert not acl.inputs["visibilityConfig"]["sampledRequestsEnabled"], "a sample keeps whole headers"
    groups = {r["statement"].get("managedRuleGroupStatement", {}).get("name") for r in acl.inputs["rules"]}
    assert {"AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"} <= groups


def firewall_rules(stack: str) -> dict[str, dict[str, Any]]:
    (acl,) = run(stack).of("wafv2/webAcl:WebAcl")
    rules = {rule["name"]: rule for rule in acl.inputs["rules"]}
    assert len({rule["priority"] for rule in rules.values()}) == len(rules)
    return rules


@pytest.mark.requirement("ECS-04")
@pytest.mark.parametrize("stack", STACKS)
def test_large_bodies_pass_at_the_gateway_alone(stack: str) -> None:
    rules = firewall_rules(stack)
    overrides = rules["common"]["statement"]["managedRuleGroupStatement"]["ruleActionOverrides"]
    assert overrides == [{"name": "SizeRestrictions_BODY", "actionToUse": {"count": {}}}], "only this rule is softened"
    labelled, elsewhere = rules["body-size"]["statement"]["andStatement"]["statements"]
    assert labelled["labelMatchStatement"]["key"] == "awswaf:managed:aws:core-rule-set:SizeRestrictions_Body"
    host = elsewhere["notStatement"]["statement"]
    assert f"https://{host['byteMatchStatement']['searchString']}" == run(stack).exports["urls"]["gateway"]
    assert rules["body-size"]["action"]["block"]["customResponse"]["responseCode"] == 413
    assert rules["body-size"]["priority"] > rules["common"]["priority"], "a label is seen by later rules alone"


@pytest.mark.requirement("ECS-04")
@pytest.mark.parametrize("service", ["console", "sharing"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_narrow_door_has_a_rate_of_its_own(stack: str, service: str) -> None:
    rate = firewall_rules(stack)[f"rate-{service}"]["statement"]["rateBasedStatement"]
    waf = parse(raw_settings(stack), stack).waf
    assert rate["limit"] == waf.service_requests_max()[service] < waf.requests_max
    host = rate["scopeDownStatement"]["byteMatchStatement"]
    assert f"https://{host['searchString']}" == run(stack).exports["urls"][service]
    assert host["fieldToMatch"] == {"singleHeader": {"name": "host"}}


def test_metrics_are_hidden_before_any_door_is_asked() -> None:
    rules = {a.name: a.inputs for a in run("prod").of("lb/listenerRule:ListenerRule")}
    assert rules["metrics"]["priority"] < min(rules[service]["priority"] for service in ("gateway", "console", "sharing"))
    assert rules["metrics"]["conditions"] == [{"pathPattern": {"values": ["/metrics", "/metrics/*"]}}]
    assert rules["metrics"]["actions"][0]["fixedResponse"]["statusCode"] == "404"


def test_plain_http_is_only_ever_redirected() -> None:
    listener = run("prod").one("lb/listener:Listener", "http")
    (action,) = listener.inputs["defaultActions"]
    assert action["type"] == "redirect"
    assert action["redirect"]["protocol"] == "HTTPS"


@pytest.mark.parametrize("stack", STACKS)
def test_the_cache_has_one_iam_user_and_a_default_user_that_can_do_nothing(stack: str) -> None:
    users = {a.name: a.inputs for a in run(stack).of("elasticache/user:User")}
    assert users["app"]["authenticationMode"] == {"type": "iam"}
    assert users["app"]["userId"] == users["app"]["userName"]
    assert (users["default"]["userName"], users["default"]["accessString"]) == ("default", "off -@all")


def test_auto_scaling_keeps_its_number_of_tasks() -> None:
    assert all(a.ignored == ("desiredCount",) for a in run("prod").of("ecs/service:Service"))


@pytest.mark.requirement("ECS-09")
@pytest.mark.parametrize("stack", STACKS)
def test_every_alarm_tells_somebody_when_it_begins_and_ends(stack: str) -> None:
    alarms: list[Asked] = run(stack).of("cloudwatch/metricAlarm:MetricAlarm")
    assert len(alarms) >= 18
    for alarm in alarms:
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == ["arn:aws:mock:::alarms"]
        assert len(alarm.inputs["alarmDescription"]) > 40


@pytest.mark.parametrize("stack", STACKS)
def test_log_groups_are_encrypted_and_the_key_knows_each_of_them(stack: str) -> None:
    program = run(stack)
    groups: list[dict[str, Any]] = [a.inputs for a in program.of("cloudwatch/logGroup:LogGroup")]
    policy = json.loads(program.one("kms/key:Key", "logs").inputs["policy"])
    (statement,) = (s for s in policy["Statement"] if s["Sid"] == "LogGroups")
    known = statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert sorted(arn.split(":log-group:")[1] for arn in known) == sorted(group["name"] for group in groups)
    assert all(group["kmsKeyId"] == "arn:aws:mock:::logs" for group in groups)
