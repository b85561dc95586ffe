"""A stack file that is wrong is refused with one line for each mistake: key, what is wrong, what is allowed."""

import copy
from typing import Any

import pytest

from components.settings.model import Settings, SettingsError, parse
from tests.components.program import STACKS, stack_file

ZONES = "a list of 2 to 3 different availability zones of the region"
DIGEST = '"sha256:" and 64 hexadecimal digits; docker prints it on push'
EDGE = "console_requests_max, deletion_protection, requests_max, sharing_requests_max"
RUNBOOKS = 'an https URL without a slash at its end, such as "https://example.com/docs/runbooks"'
PRIVATE = "a private network (RFC 1918) written with its first address"


def changed(stack: str, path: str, value: Any) -> dict[str, Any]:
    """The settings of a stack with one value replaced."""
    settings = copy.deepcopy(stack_file(stack)["gatehouse:settings"])
    *sections, key = path.split(".")
    target = settings
    for section in sections:
        target = target[section]
    target[key] = value
    return dict(settings)


def refusal(raw: Any, stack: str) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(SettingsError) as caught:
        parse(raw, stack)
    head, *lines = str(caught.value).splitlines()
    count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
    assert head == f"Pulumi.{stack}.yaml has {count}:"
    return [line.removeprefix("  - ") for line in lines]


@pytest.mark.requirement("CG-26")
@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_files_in_the_repository_are_accepted(stack: str) -> None:
    assert parse(stack_file(stack)["gatehouse:settings"], stack).environment == stack


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("account", 123456789012, "account is 123456789012; allowed: the 12 digits of the AWS account, in quotes"),
        ("account", "1234", "account is '1234'; allowed: the 12 digits of the AWS account, in quotes"),
        ("environment", "test", "environment is 'test'; allowed: dev, staging, prod"),
        ("environment", "prod", "environment is 'prod'; allowed: dev, the name of the stack"),
        ("region", "ireland", "region is 'ireland'; allowed: an AWS region such as \"eu-west-1\""),
        ("domain", "Gatehouse", "domain is 'Gatehouse'; allowed: a domain such as \"gatehouse.example.com\""),
        (
            "key_prefix",
            "GTK",
            "key_prefix is 'GTK'; allowed: 1 to 16 lower-case letters, digits and single underscores that do not begin like the "
            "keys of another issuer (ghp, gho, ghu, ghs, ghr, sk, pk, rk, xox)",
        ),
        ("key_environment", "live", "key_environment is 'live'; allowed in dev: test, for only prod issues live keys"),
        (
            "deployer.repository",
            "https://github.com/example/gatehouse",
            "deployer.repository is 'https://github.com/example/gatehouse'; allowed: none, or owner/repository on GitHub, such "
            "as example/gatehouse",
        ),
        ("watch.probe_minutes", 3, "watch.probe_minutes is 3; allowed: 0, 1, 2, 5, 10, 15"),
        (
            "deployer.repository",
            "example/*",
            "deployer.repository is 'example/*'; allowed: none, or owner/repository on GitHub, such as example/gatehouse",
        ),
        (
            "deployer.state_bucket",
            "s3://state",
            "deployer.state_bucket is 's3://state'; allowed: none, or the name of an S3 bucket",
        ),
        (
            "deployer.state_key",
            "alias/state",
            "deployer.state_key is 'alias/state'; allowed: none, or the ARN of a KMS key (not of an alias)",
        ),
        ("log_level", "trace", "log_level is 'trace'; allowed: debug, info, warning, error"),
        ("sharing.form", "lambda", "sharing.form is 'lambda'; allowed: container, serverless"),
        ("sharing.memory_mib", 128, "sharing.memory_mib is 128; allowed: a whole number from 256 to 3008 (MiB)"),
        (
            "sharing.requests_s_max",
            101,
            "sharing.requests_s_max is 101; allowed: 10 times sharing.concurrency (100) or less, for the function "
            "answers no more in time",
        ),
        (
            "sharing.log_role",
            True,
            "sharing.log_role is true; allowed with sharing.form container: false, for there is no API that logs",
        ),
        ("keep.protect", "yes", "keep.protect is 'yes'; allowed: true or false"),
        ("keep.protect", 1, "keep.protect is 1; allowed: true or false"),
        (
            "network.cidr",
            "10.20.0.0/24",
            "network.cidr is '10.20.0.0/24'; allowed: an IPv4 network with /16, such as \"10.20.0.0/16\"",
        ),
        ("network.cidr", "10.20.1.0/16", f"network.cidr is '10.20.1.0/16'; allowed: {PRIVATE}"),
        ("network.cidr", "8.8.0.0/16", f"network.cidr is '8.8.0.0/16'; allowed: {PRIVATE}"),
        ("network.zones", ["eu-west-1a"], f"network.zones is ['eu-west-1a']; allowed: {ZONES}"),
        ("network.zones", "eu-west-1a", f"network.zones is 'eu-west-1a'; allowed: {ZONES}"),
        (
            "network.zones",
            ["eu-west-1a", "eu-central-1b"],
            "network.zones.1 is 'eu-central-1b'; allowed: zones of region eu-west-1",
        ),
        ("network.nat", "two", "network.nat is 'two'; allowed: none, one, per_zone"),
        ("network.endpoint_zones", "two", "network.endpoint_zones is 'two'; allowed: one, all"),
        ("network.core_networks", ["9.0.0.0/8"], f"network.core_networks.0 is '9.0.0.0/8'; allowed: {PRIVATE}"),
        ("network.core_networks", ["10.0.0.0/99"], f"network.core_networks.0 is '10.0.0.0/99'; allowed: {PRIVATE}"),
        ("network.core_port_last", 7000, "network.core_port_last is 7000; allowed: core_port_first (8000) or more"),
        ("keys.rotation_days", 366, "keys.rotation_days is 366; allowed: a whole number from 90 to 365 (days)"),
        ("secrets.rotation_days", 31, "secrets.rotation_days is 31; allowed: a whole number from 1 to 30 (days)"),
        ("secrets.rotation_days", True, "secrets.rotation_days is true; allowed: a whole number from 1 to 30 (days)"),
        (
            "secrets.operators",
            ["arn:aws:iam::999999999999:role/ops"],
            "secrets.operators.0 is 'arn:aws:iam::999999999999:role/ops'; allowed: roles of account 123456789012",
        ),
        (
            "database.engine_version",
            17,
            'database.engine_version is 17; allowed: a PostgreSQL version from 16, in quotes, such as "17"',
        ),
        (
            "database.storage_gib_max",
            20.5,
            "database.storage_gib_max is 20.5; allowed: a whole number from 20 to 65536 (GiB)",
        ),
        ("database.storage_gib", 60, "database.storage_gib_max is 50; allowed: database.storage_gib (60) or more"),
        ("database.monitoring_interval_s", 7, "database.monitoring_interval_s is 7; allowed: 0, 1, 5, 10, 15, 30, 60"),
        (
            "cache.node_type",
            "db.t4g.micro",
            "cache.node_type is 'db.t4g.micro'; allowed: an ElastiCache class such as \"cache.t4g.micro\"",
        ),
        ("buckets.trail_days", None, "buckets.trail_days is empty; allowed: a whole number from 1 to 3650 (days)"),
        ("buckets.lock_days", 91, "buckets.trail_days is 90; allowed: buckets.lock_days (91) or more"),
        ("buckets.lock_mode", "governance", "buckets.lock_mode is 'governance'; allowed: GOVERNANCE, COMPLIANCE"),
        ("image.digest", "latest", f"image.digest is 'latest'; allowed: {DIGEST}"),
        ("services.gateway.cpu", 300, "services.gateway.cpu is 300; allowed: 256, 512, 1024, 2048, 4096"),
        (
            "services.gateway.memory_mib",
            4096,
            "services.gateway.memory_mib is 4096; allowed with cpu 256: 512 to 2048 in steps of 1024",
        ),
        (
            "edge.console_requests_max",
            30000,
            "edge.console_requests_max is 30000; allowed: edge.requests_max (20000) or less",
        ),
        ("watch.runbooks_url", "http://docs", f"watch.runbooks_url is 'http://docs'; allowed: {RUNBOOKS}"),
        ("services.gateway.tasks_min", 3, "services.gateway.tasks_max is 2; allowed: tasks_min (3) or more"),
        (
            "services.gateway",
            3,
            "services.gateway is 3; allowed: a mapping with "
            "cpu, cpu_target_percent, memory_mib, requests_target, tasks_max, tasks_min, workers",
        ),
        (
            "watch.emails",
            ["nobody"],
            "watch.emails is ['nobody']; allowed: a list of 0 to 10 different e-mail addresses",
        ),
        (
            "services.console.workers",
            2,
            "services.console.workers is not a setting; allowed here: "
            "cpu, cpu_target_percent, memory_mib, requests_target, tasks_max, tasks_min",
        ),
        ("second_region", "eu-west-1", "second_region is 'eu-west-1'; allowed: another region than region"),
        ("second_region", "frankfurt", "second_region is 'frankfurt'; allowed: an AWS region such as \"eu-central-1\""),
        ("network.exec_endpoints", "on", "network.exec_endpoints is 'on'; allowed: true or false"),
        ("database.insights", "full", "database.insights is 'full'; allowed: standard, advanced"),
        ("database.proxy", "yes", "database.proxy is 'yes'; allowed: true or false"),
        ("buckets.replicate", 1, "buckets.replicate is 1; allowed: true or false"),
        ("backup.days", 6, "backup.days is 6; allowed: a whole number from 7 to 3650 (days)"),
        ("backup.lock", False, "backup.lock is false; allowed: none, GOVERNANCE, COMPLIANCE"),
        (
            "backup.lock",
            "GOVERNANCE",
            "backup.lock is GOVERNANCE; allowed with buckets.force_destroy: none, for a locked vault cannot be emptied",
        ),
        ("budget.monthly_usd", 0, "budget.monthly_usd is 0; allowed: a whole number from 1 to 1000000 (USD a month)"),
        ("budget.anomaly_usd", "20", "budget.anomaly_usd is '20'; allowed: a whole number from 1 to 100000 (USD)"),
        ("baseline.enabled", None, "baseline.enabled is empty; allowed: true or false"),
        ("baseline.kept_by", "prod", 'baseline.kept_by is \'prod\'; allowed: project/stack, such as "gatehouse/prod", or ""'),
        ("baseline.enabled", True, "baseline.kept_by is 'gatehouse/prod'; allowed with baseline.enabled: \"\""),
        (
            "baseline.block_public_vpcs",
            True,
            "baseline.block_public_vpcs is true; allowed without baseline.enabled: false",
        ),
        ("edge.wall", True, f"edge.wall is not a setting; allowed here: {EDGE}"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(path: str, value: Any, message: str) -> None:
    assert refusal(changed("dev", path, value), "dev") == [message]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("keep.protect", False, "keep.protect is false; allowed in prod: true"),
        ("keep.retain", False, "keep.retain is false; allowed in prod: true"),
        (
            "network.zones",
            ["eu-west-1a", "eu-west-1b"],
            "network.zones is ['eu-west-1a', 'eu-west-1b']; allowed in prod: three zones",
        ),
        (
            "network.nat",
            "one",
            "network.nat is 'one'; allowed in prod: none or per_zone: one NAT gateway falls with its zone",
        ),
        (
            "network.endpoint_zones",
            "one",
            "network.endpoint_zones is 'one'; allowed in prod: all: endpoints fall with their zone",
        ),
        ("keys.deletion_window_days", 7, "keys.deletion_window_days is 7; allowed in prod: 30 days"),
        ("secrets.recovery_window_days", 7, "secrets.recovery_window_days is 7; allowed in prod: 30 days"),
        ("database.multi_az", False, "database.multi_az is false; allowed in prod: true"),
        ("database.recovery_days", 7, "database.recovery_days is 7; allowed in prod: 35 days"),
        ("database.deletion_protection", False, "database.deletion_protection is false; allowed in prod: true"),
        ("database.final_snapshot", False, "database.final_snapshot is false; allowed in prod: true"),
        (
            "database.monitoring_interval_s",
            0,
            "database.monitoring_interval_s is 0; allowed in prod: 1, 5, 10, 15, 30 or 60",
        ),
        ("cache.replicas", 0, "cache.replicas is 0; allowed in prod: 1 or more replicas"),
        ("cache.snapshot_days", 1, "cache.snapshot_days is 1; allowed in prod: 7 or more days"),
        ("tokens.recovery_days", 7, "tokens.recovery_days is 7; allowed in prod: 35 days"),
        ("tokens.deletion_protection", False, "tokens.deletion_protection is false; allowed in prod: true"),
        ("buckets.lock_days", 30, "buckets.lock_days is 30; allowed in prod: 365 or more days"),
        ("buckets.replicate", False, "buckets.replicate is false; allowed in prod: true"),
        ("backup.days", 34, "backup.days is 34; allowed in prod: 35 or more days"),
        ("backup.copy_away", False, "backup.copy_away is false; allowed in prod: true"),
        ("backup.lock", "none", "backup.lock is 'none'; allowed in prod: GOVERNANCE or COMPLIANCE"),
        ("database.insights", "standard", "database.insights is 'standard'; allowed in prod: advanced"),
        (
            "network.exec_endpoints",
            True,
            "network.exec_endpoints is true; allowed in prod: false: nobody opens a shell beside live keys",
        ),
        ("log_retention_days", 90, "log_retention_days is 90; allowed in prod: 365 or more days"),
        ("services.gateway.tasks_min", 1, "services.gateway.tasks_min is 1; allowed in prod: 2 or more tasks"),
        ("services.console.tasks_min", 1, "services.console.tasks_min is 1; allowed in prod: 2 or more tasks"),
        ("edge.deletion_protection", False, "edge.deletion_protection is false; allowed in prod: true"),
        ("watch.emails", [], "watch.emails is []; allowed in prod: at least one address: somebody must hear an alarm"),
        ("key_environment", "test", "key_environment is 'test'; allowed in prod: live"),
    ],
)
def test_prod_cannot_be_weakened(path: str, value: Any, message: str) -> None:
    assert refusal(changed("prod", path, value), "prod") == [message]


def test_prod_keeps_its_buckets_and_locked_backups() -> None:
    assert refusal(changed("prod", "buckets.force_destroy", True), "prod") == [
        "buckets.force_destroy is true; allowed in prod: false",
        "backup.lock is GOVERNANCE; allowed with buckets.force_destroy: none, for a locked vault cannot be emptied",
    ]


def test_a_missing_value_is_named_with_what_it_should_be() -> None:
    settings = copy.deepcopy(stack_file("dev")["gatehouse:settings"])
    del settings["owner"], settings["network"]["nat"], settings["edge"]
    assert refusal(settings, "dev") == [
        "owner is missing; allowed: the team that answers for the stack, 2 to 64 letters",
        "network.nat is missing; allowed: none, one, per_zone",
        f"edge is missing; allowed: a mapping with {EDGE}",
    ]


def test_all_mistakes_are_told_at_once() -> None:
    settings = changed("prod", "database.multi_az", False)
    settings["cache"] = {**settings["cache"], "replicas": 0}
    assert len(refusal(settings, "prod")) == 2


@pytest.mark.parametrize(("raw", "shown"), [(None, "empty"), ("dev", "'dev'"), ([], "[]")])
def test_a_stack_file_without_settings_says_where_to_look(raw: Any, shown: str) -> None:
    line = f"gatehouse:settings is {shown}; allowed: a mapping, as in Pulumi.dev.yaml"
    assert refusal(raw, "dev") == [line]


def test_a_long_value_is_cut_in_the_message() -> None:
    (line,) = refusal(changed("dev", "owner", "x" * 500), "dev")
    assert len(line) < 140


def test_settings_do_not_change_after_loading() -> None:
    settings: Settings = parse(stack_file("dev")["gatehouse:settings"], "dev")
    with pytest.raises(ValueError, match="frozen"):
        settings.owner = "somebody"


def test_a_pipeline_without_a_repository_has_no_provider_and_no_state() -> None:
    off = {"repository": "none", "provider": True, "state_bucket": "state", "state_key": "none"}
    assert refusal(changed("dev", "deployer", off), "dev") == [
        "deployer.provider is true; allowed with deployer.repository none: false",
        "deployer.state_bucket is 'state'; allowed with deployer.repository none: none",
    ]


def test_a_key_of_state_without_a_bucket_is_refused() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    wrong = {"repository": "example/gatehouse", "provider": False, "state_bucket": "none", "state_key": key}
    assert refusal(changed("dev", "deployer", wrong), "dev") == [
        "deployer.state_key is 'arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-000...; allowed with "
        "deployer.state_bucket none: none"
    ]
