"""`make bootstrap`: state bucket, KMS key, stack, and the settings of a pipeline."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.program.types import ACCOUNT

from release.bootstrap import ALIAS
from sandbox.emulator.server import Emulator
from tests import processes
from tests.release.fake_aws import ACCOUNT as OTHER_ACCOUNT
from tests.release.fake_aws import FakeAccount, own_stack_file, serving
from tests.repository.test_workflows import TEXTS

pytestmark = pytest.mark.requirement("TR-17")
REGION = "eu-west-1"
BUCKET = f"gatehouse-pulumi-state-{ACCOUNT}-{REGION}"
URL = f"s3://{BUCKET}?region={REGION}"
STACK_FILE = own_stack_file().replace(OTHER_ACCOUNT, ACCOUNT)
DELIVERY = "    delivery:\n      repository: acme/gatehouse\n      state_bucket: acme-state\n"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as running:
        yield running


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path) -> Iterator[FakeAccount]:
    fake = FakeAccount(folder=tmp_path, emulator=emulator, stacks=())
    with serving(fake):
        yield fake


def bootstrap(account: FakeAccount, *, extra: str = "", header: str = "", **rest: Any) -> Any:
    return account.release("bootstrap", stack_file=header + STACK_FILE + extra, **rest)


def failure(account: FakeAccount, **options: Any) -> str:
    result = bootstrap(account, **options)
    assert (result.returncode, account.steps) == (1, []), result.stderr
    return str(result.stderr)


def install_gh(account: FakeAccount, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    processes.executable(account.folder / "gh", "\n".join(["#!/bin/sh", *lines]))
    monkeypatch.setenv("PATH", f"{account.folder}{os.pathsep}{os.environ['PATH']}")


def configuration(emulator: Emulator, bucket: str = BUCKET) -> dict[str, Any]:
    s3 = emulator.client("s3", REGION)
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
        "Rules"
    ]
    return {
        "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
        "public access": set(
            s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()
        ),
        "encryption": encryption[0]["ApplyServerSideEncryptionByDefault"],
        "statements": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"],
    }


def test_creates_bucket_key_and_stack(account: FakeAccount, emulator: Emulator) -> None:
    result = bootstrap(account)
    assert result.returncode == 0, result.stderr
    kms = emulator.client("kms", REGION)
    key = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    bucket = configuration(emulator)
    (statement,) = bucket.pop("statements")
    assert bucket == {
        "versioning": "Enabled",
        "public access": {True},
        "encryption": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
    }
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == (
        "Deny",
        "*",
        ["s3:*"],
    )
    assert statement["Resource"] == [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    provider = f"awskms://{ALIAS}?region={REGION}"
    assert account.steps == [f"login {URL}", f"stack init dev --secrets-provider {provider}"]
    assert f"state_bucket: {BUCKET}\n" in result.stdout
    assert f"state_key_arn: {key}\n" in result.stdout


def test_second_run_changes_nothing(account: FakeAccount, emulator: Emulator) -> None:
    first = bootstrap(account)
    before = configuration(emulator)
    second = bootstrap(account, header="secretsprovider: awskms://x\n")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert configuration(emulator) == before
    assert len(emulator.client("kms", REGION).list_keys()["Keys"]) == 1
    assert [step for step in account.steps if step.startswith("stack init")] == account.steps[1:2]
    reports = [line for line in second.stdout.splitlines() if line.startswith("> ")]
    assert reports == [
        f"> the KMS key {ALIAS} exists",
        f"> the bucket {BUCKET} exists",
        "> the service-linked role of ECS exists",
        f"> logged in: pulumi login '{URL}'",
        "> the stack dev exists",
    ]


def test_existing_bucket_keeps_its_policy_and_lifecycle(
    account: FakeAccount, emulator: Emulator
) -> None:
    s3 = emulator.client("s3", REGION)
    s3.create_bucket(Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": REGION})
    own = {
        "Sid": "Own",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteBucket",
        "Resource": "arn:aws:s3:::acme-state",
    }
    s3.put_bucket_policy(
        Bucket="acme-state", Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]})
    )
    result = bootstrap(account, extra=DELIVERY)
    assert "> the bucket acme-state exists" in result.stdout, result.stderr
    bucket = configuration(emulator, "acme-state")
    assert [row["Sid"] for row in bucket["statements"]] == ["Own", "DenyInsecureTransport"]
    assert "Lifecycle" not in str(s3.list_objects_v2(Bucket="acme-state"))
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="acme-state")


@pytest.mark.parametrize(
    ("region", "encryption", "message"),
    [
        (
            "eu-central-1",
            None,
            "the bucket acme-state is in eu-central-1, but the stack is in eu-west-1",
        ),
        (
            REGION,
            {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:x"},
            "is encrypted with the KMS key arn:x",
        ),
        (REGION, {"SSEAlgorithm": "aws:kms"}, "is encrypted with the KMS key aws/s3"),
    ],
)
def test_unsuitable_bucket_is_rejected(
    account: FakeAccount,
    emulator: Emulator,
    region: str,
    encryption: dict[str, str] | None,
    message: str,
) -> None:
    s3 = emulator.client("s3", region)
    s3.create_bucket(Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": region})
    if encryption:
        rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": encryption}]}
        s3.put_bucket_encryption(Bucket="acme-state", ServerSideEncryptionConfiguration=rules)
    error = failure(account, extra=DELIVERY)
    assert message in error
    assert "Set another name in delivery.state_bucket" in error
    assert s3.get_bucket_versioning(Bucket="acme-state").get("Status") is None


@pytest.mark.parametrize(
    ("change", "state", "command"),
    [
        ("schedule_key_deletion", "PendingDeletion", "cancel-key-deletion"),
        ("disable_key", "Disabled", "enable-key"),
    ],
)
def test_key_that_cannot_be_used_is_reported(
    account: FakeAccount, emulator: Emulator, change: str, state: str, command: str
) -> None:
    kms = emulator.client("kms", REGION)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=ALIAS, TargetKeyId=key)
    getattr(kms, change)(KeyId=key)
    text = f"is in the state {state}. To use it, run: aws kms {command} --key-id"
    assert text in failure(account)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("s3:*", "bootstrap: AWS rejected DescribeKey:"),
        (
            "kms:*",
            f"bootstrap: the bucket {BUCKET} belongs to another account, or the credentials "
            f"may not read it.",
        ),
    ],
)
def test_missing_permission_is_reported(
    account: FakeAccount, emulator: Emulator, action: str, message: str
) -> None:
    iam = emulator.client("iam", REGION)
    iam.create_user(UserName="reader")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
    }
    iam.put_user_policy(UserName="reader", PolicyName="reader", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    emulator.permissions.enforce(True)
    emulator.credentials = (key["AccessKeyId"], key["SecretAccessKey"])
    error = failure(account)
    assert message in error
    assert "Use the credentials of an administrator" in error


def test_stack_with_a_passphrase_is_reported(account: FakeAccount) -> None:
    account.stacks = ("dev",)
    result = bootstrap(account, header="encryptionsalt: v1:x\n")
    assert result.returncode == 0, result.stderr
    assert (
        f"run: pulumi stack change-secrets-provider 'awskms://{ALIAS}?region={REGION}' --stack dev"
        in result.stdout
    )
    assert result.stdout.count("gh secret set PULUMI_CONFIG_PASSPHRASE ") == 4


def test_failure_of_the_cli_is_reported(account: FakeAccount) -> None:
    account.failures = {"login": "error: unable to open bucket"}
    assert failure(account) == "bootstrap: pulumi login failed: error: unable to open bucket\n"


def test_missing_prerequisites_are_reported_together(account: FakeAccount) -> None:
    missing: dict[str, Any] = {"cli": False, "credentials": False}
    url = "https://api.pulumi.com"
    error = account.refusal("bootstrap", stack_file=STACK_FILE, backend_url=url, **missing)
    cli, backend, credentials = error.splitlines()
    assert "the Pulumi CLI is not on PATH. Install it: https://www.pulumi.com/docs/install/" in cli
    assert f"PULUMI_BACKEND_URL is {url}" in backend
    assert "no AWS credentials. Run: aws sso login, or set AWS_PROFILE" in credentials


def test_other_account_is_rejected(account: FakeAccount, emulator: Emulator) -> None:
    assert (
        f"the AWS credentials are for account {ACCOUNT}, but the stack dev is in account "
        f"{OTHER_ACCOUNT}"
    ) in account.refusal("bootstrap")
    assert emulator.client("s3", REGION).list_buckets()["Buckets"] == []


def test_variables_of_the_workflows_are_printed(account: FakeAccount) -> None:
    result = bootstrap(account, extra=DELIVERY)
    commands = re.findall(
        r"^gh variable set (\S+) --repo acme/gatehouse --env (\S+) --body '(\S+)'$",
        result.stdout,
        re.M,
    )
    printed = {(environment, name) for name, environment, _ in commands}
    suffixes = {"release": "", "preview": "-preview", "drift": "-drift", "image": "-image"}
    used = {
        (f"dev{suffix}", name)
        for workflow, suffix in suffixes.items()
        for name in re.findall(r"\bvars\.(\w+)", TEXTS[workflow])
        if name not in ("ARTIFACT_ATTESTATIONS", "AWS_DELIVERY")
    }
    assert used <= printed
    assert {environment for environment, _ in printed} == {
        f"dev{suffix}" for suffix in suffixes.values()
    }
    assert result.stdout.endswith(
        "\ngh variable set AWS_DELIVERY --repo acme/gatehouse --body 'true'\n"
    )
    assert (
        "AWS_DEPLOY_ROLE",
        "dev",
        f"arn:aws:iam::{ACCOUNT}:role/gatehouse-dev-deploy",
    ) in commands
    assert ("PULUMI_BACKEND_URL", "dev-drift", f"s3://acme-state?region={REGION}") in commands
    created = re.findall(
        r"^gh api --method PUT repos/acme/gatehouse/environments/(\S+) -F", result.stdout, re.M
    )
    assert created == ["dev", "dev-preview", "dev-drift", "dev-image"]


def test_ids_of_the_repository_are_read_with_gh(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = bootstrap(account, extra=DELIVERY).stdout
    assert 'repository_id: "<gh api repos/acme/gatehouse --jq .id>"' in without
    install_gh(account, monkeypatch, '[ "$2" = repos/acme/gatehouse ] && printf "123\\n456\\n"')
    printed = bootstrap(account, extra=DELIVERY).stdout
    assert 'owner_id: "123"\n      repository_id: "456"' in printed


#: Environments that jobs of the branch main use, and the environment of pull requests.
MAIN = "branch main"
PROTECTED = {"dev": MAIN, "dev-drift": MAIN, "dev-image": MAIN, "dev-preview": "reviewers"}


@pytest.mark.parametrize(
    ("rules", "unprotected"),
    [
        (PROTECTED, []),
        (PROTECTED | {"dev-drift": "none"}, ["dev-drift"]),
        (PROTECTED | {"dev-drift": "branch main branch *"}, ["dev-drift"]),
        (PROTECTED | {"dev-drift": "tag main"}, ["dev-drift"]),
        (PROTECTED | {"dev-drift": "reviewers"}, ["dev-drift"]),
        (PROTECTED | {"dev-preview": MAIN}, []),
        (PROTECTED | {"dev-preview": "none"}, ["dev-preview"]),
        ({"dev": MAIN, "dev-image": MAIN}, ["dev-preview", "dev-drift"]),
        (PROTECTED | {"branch": "false"}, ["main"]),
    ],
    ids=[
        "all",
        "no rule",
        "other branches",
        "a tag",
        "no branch",
        "no previews of pull requests",
        "no reviewers",
        "no environment",
        "no protected branch",
    ],
)
def test_environment_without_protection_rules_is_an_error(
    account: FakeAccount,
    monkeypatch: pytest.MonkeyPatch,
    rules: dict[str, str],
    unprotected: list[str],
) -> None:
    branch = f"repos/acme/gatehouse/branches/main) echo {rules.get('branch', 'true')};;"
    lines = ['case "$2" in', branch]
    for name, rule in rules.items():
        kind = "required_reviewers" if rule == "reviewers" else "branch_policy"
        path = f"repos/acme/gatehouse/environments/{name}"
        lines.append(f"{path}) echo {'' if rule == 'none' else kind};;")
        branches = "" if kind == "required_reviewers" else rule
        lines.append(f"{path}/deployment-branch-policies) printf '%s\\n' '{branches}';;")
    install_gh(account, monkeypatch, *lines, "*) exit 1;;", "esac")
    result = bootstrap(account, extra=DELIVERY)
    assert result.returncode == (1 if unprotected else 0), result.stderr
    problems = re.findall(r"the (?:GitHub environment|branch) (\S+)", result.stderr)
    assert [name for name in problems if name != "main,"] == unprotected
    assert result.stderr.count("gh api --method PUT ") == len({*unprotected} - {"main"})
