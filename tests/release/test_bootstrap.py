"""`make bootstrap`: state bucket, KMS key, stack, and the rules of a pipeline."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from pulumi_local.types import ACCOUNT

from sandbox.emulator.server import Emulator
from tests import processes
from tests.release.fake_aws import ACCOUNT as OTHER_ACCOUNT
from tests.release.fake_aws import ROOT, serving
from tests.release.fake_cli import FakePulumi, own_stack_file
from tests.release.test_deploy import account_project
from tests.repository.test_workflows import TEXTS

REGION = "eu-west-1"
PREFIX = "acme-gw"
BUCKET = f"{PREFIX}-pulumi-state-{ACCOUNT}-{REGION}"
ALIAS = f"alias/{PREFIX}-pulumi-state"
URL = f"s3://{BUCKET}?region={REGION}"
DELIVERY = {"repository": "acme/gatehouse", "state_bucket": "acme-state"}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as running:
        yield running


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path) -> Iterator[FakePulumi]:
    fake = FakePulumi(folder=tmp_path, emulator=emulator, stacks=())
    with serving(fake):
        yield fake


def bootstrap(account: FakePulumi, header: str = "", **options: Any) -> Any:
    settings = options.pop("settings", {})
    text = own_stack_file(name_prefix=PREFIX, **settings).replace(OTHER_ACCOUNT, ACCOUNT)
    return account.release("bootstrap", stack_file=header + text, **options)


def failure(account: FakePulumi, **options: Any) -> str:
    result = bootstrap(account, **options)
    assert (result.returncode, account.steps) == (1, []), result.stderr
    return str(result.stderr)


def configuration(emulator: Emulator, bucket: str = BUCKET) -> dict[str, Any]:
    s3 = emulator.client("s3", REGION)
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {
        "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
        "public access": set(block.values()),
        "encryption": rules[0]["ApplyServerSideEncryptionByDefault"],
        "statements": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"],
        "expiration": lifecycle[0]["NoncurrentVersionExpiration"]["NoncurrentDays"],
    }


def test_creates_bucket_key_and_stack(account: FakePulumi, emulator: Emulator) -> None:
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
        "expiration": 90,
    }
    deny = ("Deny", "*", ["s3:*"])
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == deny
    assert statement["Resource"] == [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    provider = f"awskms://{ALIAS}?region={REGION}"
    assert account.steps == [f"login {URL}", f"stack init dev --secrets-provider {provider}"]
    roles = emulator.client("iam", REGION).list_roles()["Roles"]
    assert sorted(role["Path"] for role in roles) == [
        f"/aws-service-role/{name}.amazonaws.com/"
        for name in ("ecs", "elasticache", "elasticloadbalancing", "rds")
    ]
    assert f"state_bucket: {BUCKET}\n" in result.stdout
    assert f"state_key_arn: {key}\n" in result.stdout


def test_second_run_changes_nothing(account: FakePulumi, emulator: Emulator) -> None:
    first = bootstrap(account)
    before = configuration(emulator)
    second = bootstrap(account, header="secretsprovider: awskms://x\n")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert configuration(emulator) == before
    assert len(emulator.client("kms", REGION).list_keys()["Keys"]) == 1
    assert len(emulator.client("iam", REGION).list_roles()["Roles"]) == 4
    assert [step.split()[0] for step in account.steps] == ["login", "stack", "login"]


def test_first_resources_are_created_with_the_tags_of_the_organization(
    account: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SCP can refuse requests without them. moto ignores the tags of a new bucket."""
    requests: dict[str, Any] = {}
    call: Any = vars(BaseClient)["_make_api_call"]

    def record(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        requests[operation] = parameters
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    assert bootstrap(account, settings={"tags": ["cost:unit=42"]}).returncode == 0
    expected = {
        "cost:unit": "42",
        "Owner": "platform",
        "CostCentre": "4200",
        "Project": "gatehouse",
    }
    # The pipeline of a stack may change resources with the name of the stack.
    expected |= {"Environment": "pulumi", "ManagedBy": "bootstrap", "DataClass": "secret"}
    bucket = requests["CreateBucket"]["CreateBucketConfiguration"]["Tags"]
    assert {row["Key"]: row["Value"] for row in bucket} == expected
    key = requests["CreateKey"]["Tags"]
    assert {row["TagKey"]: row["TagValue"] for row in key} == expected


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended", None])
def test_existing_bucket_is_not_changed(
    account: FakePulumi, emulator: Emulator, versioning: str | None
) -> None:
    s3 = emulator.client("s3", REGION)
    s3.create_bucket(Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": REGION})
    if versioning:
        s3.put_bucket_versioning(
            Bucket="acme-state", VersioningConfiguration={"Status": versioning}
        )
    bootstrap(account, settings={"delivery": DELIVERY})
    accepted = [f"login s3://acme-state?region={REGION}"]
    assert account.steps[:1] == (accepted if versioning == "Enabled" else [])
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="acme-state")


@pytest.mark.parametrize(("action", "missing"), [("s3:*", "DescribeKey"), ("kms:*", "HeadBucket")])
def test_missing_permission_is_reported(
    account: FakePulumi, emulator: Emulator, action: str, missing: str
) -> None:
    iam = emulator.client("iam", REGION)
    iam.create_user(UserName="reader")
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="reader", PolicyName="reader", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    emulator.permissions.enforce(True)
    emulator.credentials = (key["AccessKeyId"], key["SecretAccessKey"])
    assert missing in failure(account)


def test_failure_of_the_cli_is_reported(account: FakePulumi) -> None:
    account.failures = {"login": "error: unable to open bucket"}
    assert failure(account) == "bootstrap: pulumi login failed: error: unable to open bucket\n"


def test_missing_prerequisites_are_reported_together(account: FakePulumi) -> None:
    url = "https://api.pulumi.com"
    options: dict[str, Any] = {"credentials": False, "PULUMI_BACKEND_URL": url}
    credentials, backend = account.refusal("bootstrap", **options).splitlines()
    assert "aws sso login" in credentials
    assert f"PULUMI_BACKEND_URL={url}" in backend


def test_other_account_is_rejected(account: FakePulumi, emulator: Emulator) -> None:
    error = account.refusal("bootstrap")
    assert f"for account {ACCOUNT}, but the stack dev is in account {OTHER_ACCOUNT}" in error
    assert emulator.client("s3", REGION).list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    ("settings", "roles"),
    [({}, []), ({"guards.config_recorder": True}, ["/aws-service-role/config.amazonaws.com/"])],
)
def test_bootstrap_of_the_account(
    account: FakePulumi, emulator: Emulator, settings: dict[str, Any], roles: list[str]
) -> None:
    changes = {"account": ACCOUNT, "state_bucket": "acme-state-of-account", **settings}
    result = account_project(account, "bootstrap", **changes)
    assert result.returncode == 0, result.stderr
    assert account.steps == [f"login s3://acme-state-of-account?region={REGION}"]
    created = emulator.client("iam", REGION).list_roles()["Roles"]
    assert [role["Path"] for role in created] == roles


#: A GitHub CLI whose repository is a folder: environments with their rules and variables.
GH = r"""#!/bin/bash
cd FOLDER
rules() { mkdir -p "${1##*/}"; echo "$2" > "${1##*/}/rules"; }
branches() { path=${1%/*}; echo "${path##*/}/branches"; }
case "$*" in
"variable set AWS_DELIVERY "*) ;;
"variable set "*) echo "$3=$9" >> "$7/variables" ;;
"api user "*) echo 7 ;;
"api repos/acme/gatehouse --jq "*) echo 'owner_id: "1"' ;;
"api repos/acme/gatehouse/branches/main "*) cat main ;;
*" --method PUT "*"deployment_branch_policy"*) rules "$5" branch_policy ;;
*" --method PUT "*"reviewers[][id]=7"*) rules "$5" required_reviewers ;;
*" --method POST "*"-f name=main") echo branch main >> "$(branches "$5")" ;;
*" --jq .branch_policies[].name") touch "$(branches "$2")"; sed 's/.* //' "$(branches "$2")" ;;
*"/deployment-branch-policies "*) cat "$(branches "$2")" ;;
*) cat "${2##*/}/rules" ;;
esac
"""


@pytest.fixture
def repository(account: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A protected repository on GitHub, without environments."""
    folder = account.folder / "github"
    folder.mkdir()
    (folder / "main").write_text("true\n")
    processes.executable(account.folder / "gh", GH.replace("FOLDER", str(folder)))
    monkeypatch.setenv("PATH", f"{account.folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def set_up(account: FakePulumi) -> None:
    """Run the command that a failed `make bootstrap` prints, twice."""
    existing = {"role_path": "/company/"}
    settings: dict[str, Any] = {"settings": {"delivery": DELIVERY, "existing_resources": existing}}
    result = bootstrap(account, **settings)
    assert result.returncode == 1
    (command,) = re.findall(r"run: (scripts/pipeline\.sh .*)", result.stderr)
    for _ in range(2):
        processes.run(["bash", "-c", command], cwd=ROOT, check=True)
    assert bootstrap(account, **settings).returncode == 0


def test_environments_and_variables_are_created(account: FakePulumi, repository: Path) -> None:
    set_up(account)
    suffixes = {"release": "", "preview": "-preview", "drift": "-drift", "image": "-image"}
    values = {
        path.name: dict(
            line.split("=", 1) for line in (path / "variables").read_text().splitlines()
        )
        for path in repository.iterdir()
        if path.is_dir()
    }
    assert set(values) == {f"dev{suffix}" for suffix in suffixes.values()}
    for workflow, suffix in suffixes.items():
        used = {*re.findall(r"\bvars\.(\w+)", TEXTS[workflow])}
        assert used - {"ARTIFACT_ATTESTATIONS", "AWS_DELIVERY"} <= values[f"dev{suffix}"].keys()
    role = f"arn:aws:iam::{ACCOUNT}:role/company/{PREFIX}-dev-deploy"
    assert values["dev"]["AWS_DEPLOY_ROLE"] == role
    assert values["dev-image"]["AWS_REPOSITORY"] == f"{PREFIX}-dev-runtime"
    assert values["dev-drift"]["PULUMI_BACKEND_URL"] == f"s3://acme-state?region={REGION}"


def test_environments_without_protection_rules_are_named(
    account: FakePulumi, repository: Path
) -> None:
    set_up(account)
    for environment, rules, branches in (
        ("dev", "branch_policy", "branch main\nbranch *"),
        ("dev-image", "branch_policy", "tag main"),
        ("dev-drift", "required_reviewers", ""),
        ("dev-preview", "branch_policy", "branch main"),  # no previews of pull requests
    ):
        (repository / environment / "rules").write_text(rules)
        (repository / environment / "branches").write_text(branches)
    (repository / "main").write_text("false")
    result = bootstrap(account, settings={"delivery": DELIVERY})
    assert result.returncode == 1
    assert unprotected(result.stderr) == {"dev", "dev-image", "dev-drift", "the branch main"}
    for environment, branches in (("dev", "branch main"), ("dev-preview", "branch main")):
        (repository / environment / "rules").write_text("")
        (repository / environment / "branches").write_text(branches)
    result = bootstrap(account, settings={"delivery": DELIVERY})
    names = {"dev", "dev-preview", "dev-image", "dev-drift", "the branch main"}
    assert unprotected(result.stderr) == names


def unprotected(message: str) -> set[str]:
    (names,) = re.findall(r"cannot read them: ([^.]+)\.", message)
    return set(names.split(", "))
