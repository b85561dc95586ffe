"""`recovery.stack` and `recovery.restore`: data in the second region."""

import re
from typing import Any

import pytest

from tests import runbooks
from tests.components.program import CLOSED, RECOVERY, RESTORE, RESTORED, SECOND, Program, run
from tests.components.settings.stack_settings import rejected_keys
from tests.iam_evaluation import Call, decide

ACCOUNT = "123456789012"
INSTANCE = "rds.Instance"
REPLICATION = "rds.InstanceAutomatedBackupsReplication"
READER = f"arn:aws:iam::{ACCOUNT}:role/gatehouse-proddr-rotate"


@pytest.fixture(scope="module")
def home() -> Program:
    return run("prod", changes=RECOVERY)


@pytest.fixture(scope="module")
def restored() -> Program:
    return run("prod", changes=RESTORED)


def test_stack_without_the_setting_keeps_nothing_for_another_stack() -> None:
    program = run("prod")
    assert program.of_type(REPLICATION) == []
    assert [
        row.name for row in program.of_type("secretsmanager.Secret") if "replicas" in row.inputs
    ] == []
    assert "recovery" not in program.exports
    assert "recovery" not in {row.name for row in program.of_type("kms.Key")}


def test_recovery_requires_no_other_copy() -> None:
    program = run("dev", changes=CLOSED)
    assert program.get("kms.Key", "backup").inputs["multiRegion"] is True
    assert program.exports["recovery"]["stack"] == "dev"


@pytest.mark.parametrize(
    ("reader", "allowed"),
    [
        (READER, True),
        (READER.replace("proddr", "prod"), True),
        (READER.replace("rotate", "console-task"), False),
        (READER.replace("proddr", "other"), False),
    ],
)
def test_only_the_rotation_function_of_the_named_stack_reads_the_replica(
    home: Program, reader: str, allowed: bool
) -> None:
    policy = home.policy("secretsmanager.SecretPolicy", "pepper")
    identity = {"Statement": [{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]}
    context = {"aws:PrincipalArn": reader, "aws:PrincipalAccount": ACCOUNT}
    arn = f"arn:aws:secretsmanager:{SECOND}:{ACCOUNT}:secret:gatehouse/prod/pepper-a1B2c3"
    call = Call(reader, "secretsmanager:GetSecretValue", arn, context)
    assert decide(call, identity=[identity], resource=policy, owner=ACCOUNT).allowed is allowed


def test_database_is_restored_under_the_key_of_its_backups(restored: Program) -> None:
    inputs = restored.get(INSTANCE, "database").inputs
    point = {
        "sourceDbInstanceAutomatedBackupsArn": RESTORE["database_backups_arn"],
        "useLatestRestorableTime": True,
    }
    assert inputs["restoreToPointInTime"] == point
    assert inputs["kmsKeyId"] == RESTORE["database_key_arn"]
    assert not {"dbName", "username"} & set(inputs), "RDS takes both from the source"
    assert inputs["manageMasterUserPassword"] is True
    assert run("prod").get(INSTANCE, "database").inputs.get("restoreToPointInTime") is None


def test_records_of_the_lost_stack_are_replaced(restored: Program) -> None:
    records = restored.of_type("route53.Record")
    assert len(records) == 6  # a record and a validation record for each host name
    assert all(row.inputs.get("allowOverwrite") is True for row in records)
    assert not [
        row for row in run("prod").of_type("route53.Record") if row.inputs.get("allowOverwrite")
    ]


INVALID = [
    ({"recovery.stack": "prod"}, ["recovery.stack"]),
    ({"recovery.stack": "prod-dr"}, ["recovery.stack"]),
    ({"recovery.restore": {"stack": "other"}}, None),
    (
        {"recovery.restore": {"secrets_key_arn": RESTORE["secrets_key_arn"]}},
        ["recovery.restore.secrets_key_arn"],
    ),
    (
        {
            **RESTORED,
            "recovery.restore": {**RESTORE, "stack": "other"},
            "services.console.hosting": "cloudfront",
        },
        ["services.console.hosting"],
    ),
    ({**RESTORED, "recovery.restore": {**RESTORE, "stack": "prod"}}, ["recovery.restore.stack"]),
    (
        {
            "recovery.restore": {**RESTORE, "stack": "other"},
            "existing_resources.zone_id": "Z0123456789ABCDEFGHIJ",
        },
        [
            f"recovery.restore.{name}_arn"
            for name in ("database_backups", "database_key", "secrets_key")
        ],
    ),
]


@pytest.mark.parametrize(("change", "rejected"), INVALID)
def test_invalid_settings_are_rejected(change: dict[str, Any], rejected: list[str] | None) -> None:
    missing = [
        *(f"recovery.restore.{name}" for name in RESTORE if name != "stack"),
        "existing_resources.zone_id",
    ]
    assert sorted(rejected_keys("prod", change)) == sorted(
        missing if rejected is None else rejected
    )


def test_runbook_restores_the_database_with_the_properties_of_prod() -> None:
    (instance,) = run("prod").inputs(INSTANCE).values()
    commands = f"{runbooks.RESTORE} {runbooks.SWAP}".replace("\\\n", " ")
    found = {}
    for no, option, value in re.findall(
        r" --(no-)?(?:enable-)?([a-z-]+)(?: +([\w<]\S*))?", commands
    ):
        first, *others = option.split("-")
        name = first + "".join(map(str.title, others))
        for property_name in (name, f"{name}Enabled"):
            if property_name in instance and "<" not in value:
                found[property_name] = value or not no
    del found["applyImmediately"]  # of this change
    declared = {name: instance[name] for name in found}
    assert found == {
        name: value if isinstance(value, bool) else str(value) for name, value in declared.items()
    }
    assert len(found) > 9
