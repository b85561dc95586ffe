"""Creates what a stack requires before its first deployment: a bucket for the Pulumi state, a KMS
key for the state and the secrets of the stack, and the stack itself. Idempotent."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.delivery.policies import IMAGE, github_environments
from components.iam.documents import deny_insecure_transport, document, render
from components.naming import DEPLOY, PREVIEW, PROJECT
from release import pulumi_cli
from release.errors import CommandFailed
from release.stack_file import ACCOUNT, Stack

BUCKET = f"{PROJECT}-pulumi-state"
"""Prefix of the default name of the bucket. The name ends with the account and the region."""
ALIAS = f"alias/{PROJECT}-pulumi-state"
"""Alias of the KMS key, which all stacks of the account and region use."""
STATE_VERSION_DAYS = 90
"""Days for which the bucket retains overwritten and deleted versions of the state."""
TAGS = [{"Key": "Project", "Value": PROJECT}, {"Key": "DataClass", "Value": "secret"}]
REPOSITORY = "<owner>/<repository>"
GITHUB_TIMEOUT_S = 15.0


def state_bucket(stack: Stack) -> str:
    """Name of the bucket: the setting, or a name that contains the account and the region."""
    section = stack.settings if stack.project == ACCOUNT else stack.settings.get("delivery")
    name = section.get("state_bucket") if isinstance(section, dict) else None
    return str(name or f"{BUCKET}-{stack.account}-{stack.region}")


def backend_url(stack: Stack) -> str:
    """URL for `pulumi login`. Because of the region, the CLI does not require AWS_REGION."""
    return f"s3://{state_bucket(stack)}?region={stack.region}"


def secrets_provider(stack: Stack) -> str:
    return f"awskms://{ALIAS}?region={stack.region}"


def without_key(stack: Stack) -> str:
    """A message for an existing stack whose file names no KMS key, with the fix."""
    cause = (
        f"the secrets of the stack {stack.name} are encrypted with a passphrase"
        if stack.has_salt
        else f"{stack.file} contains neither secretsprovider nor encryptionsalt"
    )
    change = f"pulumi stack change-secrets-provider '{secrets_provider(stack)}' {stack.options}"
    return f"{cause}. To use the KMS key, run: {change}"


def bootstrap(stack: Stack, report: Callable[[str], None]) -> str:
    """Create what is missing, and log in to the backend. Returns the ARN of the KMS key. report:
    receives a line for each step. Raises CommandFailed.
    """
    bucket = state_bucket(stack)
    try:
        key_arn = _key(stack.client("kms"), report)
        _bucket(stack.client("s3"), bucket, key_arn, stack, report)
        _service_linked_role(stack.client("iam"), stack, report)
    except ClientError as exc:
        problem = (
            f"AWS rejected {exc.operation_name}: {exc.response['Error'].get('Message') or exc}"
        )
        raise CommandFailed(
            f"{problem}. Use the credentials of an administrator, and run the command again"
        ) from exc
    except BotoCoreError as exc:
        raise CommandFailed(
            f"AWS did not respond ({type(exc).__name__}). Run the command again"
        ) from exc
    url = backend_url(stack)
    _query("login", url, root=stack.root)
    report(f"logged in: pulumi login '{url}'")
    _init_stack(stack, report)
    return key_arn


def account_instructions(stack: Stack) -> Iterator[str]:
    """The next steps after `make bootstrap` for the project `account`, line by line."""
    yield "The deployment requires the credentials of an administrator. Next steps:"
    yield ""
    yield f"make preview {stack.target}"
    yield f"make deploy {stack.target}"


def pipeline_instructions(stack: Stack, key_arn: str) -> Iterator[str]:
    """The settings and the commands that connect a pipeline on GitHub with the stack, line by line.
    key_arn: KMS key of the state.
    """
    repository = _repository(stack) or REPOSITORY
    owner_id, repository_id = github_ids(repository)
    yield "For deployments from GitHub Actions, first create the environments with their protection"
    yield "rules (docs/guides/deploy.md, section 6):"
    yield ""
    for environment in github_variables(stack):
        yield from _protection_commands(repository, environment)
    yield ""
    yield f"Then set in {stack.file}, and run: make bootstrap {stack.target}"
    yield ""
    yield "    delivery:"
    yield f"      repository: {repository}"
    yield f'      owner_id: "{owner_id}"'
    yield f'      repository_id: "{repository_id}"'
    yield "      create_oidc_provider: true # in one stack of each account"
    yield f"      state_bucket: {state_bucket(stack)}"
    yield f"      state_key_arn: {key_arn}"
    yield ""
    yield "Then deploy the stack, and set the variables of the environments:"
    yield ""
    for environment, variables in github_variables(stack).items():
        for name, value in variables.items():
            yield f"gh variable set {name} --repo {repository} --env {environment} --body '{value}'"
        if stack.has_salt:
            yield f"gh secret set PULUMI_CONFIG_PASSPHRASE --repo {repository} --env {environment}"
    yield f"gh variable set AWS_DELIVERY --repo {repository} --body 'true'"


def github_ids(repository: str) -> tuple[str, str]:
    """IDs of the owner and of the repository on GitHub; placeholders with the command to type if
    `gh` is not installed, not signed in, or cannot read the repository.
    """
    fields = (".owner.id", ".id")
    ids = _github(f"repos/{repository}", ", ".join(fields))
    if len(ids) != len(fields) or not all(map(str.isdigit, ids)):
        ids = [f"<gh api repos/{repository} --jq {field}>" for field in fields]
    return ids[0], ids[1]


def unprotected_environments(stack: Stack) -> list[str]:
    """One message, with its fix, for the branch main if it is not protected, and for each GitHub
    environment without protection rules that the roles of the pipeline trust: GitHub creates an
    environment without rules when a workflow of any branch names it.

    Source: GitHub REST API, "Branches", "Deployment environments" and "Deployment branch policies".
    """
    repository = _repository(stack)
    problems = []
    if repository and _github(f"repos/{repository}/branches/main", ".protected") != ["true"]:
        problems.append(
            f"the branch main of {repository} is not protected, or gh cannot read it (gh auth "
            f"login), so everyone who can push to it can deploy. Require pull requests with an "
            f"approval: https://github.com/{repository}/settings/rules"
        )
    for environment in github_variables(stack) if repository else ():
        path = f"repos/{repository}/environments/{environment}"
        rules = _github(path, ".protection_rules[].type")
        is_protected, rule = False, "is not restricted to the branch main"
        if environment.endswith(f"-{PREVIEW}"):
            is_protected, rule = "required_reviewers" in rules, "requires no reviewers"
        if "branch_policy" in rules and not is_protected:
            # A tag can have the same name.
            policies = f"{path}/deployment-branch-policies"
            refs = _github(policies, ".branch_policies[] | .type, .name")
            is_protected = refs == ["branch", "main"]
        if not is_protected:
            commands = " && ".join(_protection_commands(repository, environment))
            problems.append(
                f"the GitHub environment {environment} {rule}, or gh cannot read it (gh auth "
                f"login). Run: {commands}"
            )
    return problems


def _repository(stack: Stack) -> str:
    return str((stack.settings.get("delivery") or {}).get("repository") or "")


def _protection_commands(repository: str, environment: str) -> Sequence[str]:
    """Commands that create an environment with its protection rules, or add the rules."""
    path = f"repos/{repository}/environments/{environment}"
    if environment.endswith(f"-{PREVIEW}"):
        reviewer = "-F 'reviewers[][type]=User' -F \"reviewers[][id]=$(gh api user --jq .id)\""
        return [f"gh api --method PUT {path} {reviewer}"]
    policy = "-F 'deployment_branch_policy[{}]={}'".format
    custom = f"{policy('protected_branches', 'false')} {policy('custom_branch_policies', 'true')}"
    return [
        f"gh api --method PUT {path} {custom}",
        f"gh api --method POST {path}/deployment-branch-policies -f name=main",
    ]


def _github(path: str, fields: str) -> list[str]:
    """Fields of a response of the GitHub API. Empty if `gh` is not installed or not signed in, or
    if the resource does not exist.
    """
    command = ["gh", "api", path, "--jq", fields]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=GITHUB_TIMEOUT_S
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def github_variables(stack: Stack) -> dict[str, dict[str, str]]:
    names = stack.names
    common = {
        "AWS_ACCOUNT": stack.account,
        "AWS_REGION": stack.region,
        "PULUMI_BACKEND_URL": backend_url(stack),
    }
    return {
        environment: {**common, f"AWS_{role.upper()}_ROLE": names.role_arn(role)}
        for role in (DEPLOY, PREVIEW, IMAGE)
        for environment in github_environments(role, names)
    }


def _service_linked_role(iam: Any, stack: Stack, report: Callable[[str], None]) -> None:
    """Create the service-linked role that the stack requires, if necessary.

    ECS creates the role together with the first cluster of an account, but rejects services until
    IAM has propagated the role. AWS Config does not create its role for a recorder.
    Sources: ECS Developer Guide, "Using service-linked roles for Amazon ECS"; AWS Config Developer
        Guide, "Using service-linked roles for AWS Config".
    """
    service, title = "ecs.amazonaws.com", "ECS"
    if stack.project == ACCOUNT:
        if not (stack.settings.get("guards") or {}).get("config_recorder"):
            return
        service, title = "config.amazonaws.com", "AWS Config"
    if iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
        report(f"the service-linked role of {title} exists")
        return
    iam.create_service_linked_role(AWSServiceName=service)
    report(f"created the service-linked role of {title}")


def _enable(key: dict[str, Any]) -> str:
    """Return what the user does to enable the key. Source: AWS KMS Developer Guide, "Key states of
    AWS KMS keys".
    """
    enable = f"aws kms enable-key --key-id {key['Arn']}"
    match key["KeyState"]:
        case "Disabled":
            return f"To use it, run: {enable}"
        case "PendingDeletion":  # a key whose deletion was canceled is disabled
            return (
                f"To use it, run: aws kms cancel-key-deletion --key-id {key['Arn']}, then {enable}"
            )
        case _:
            return (
                f"To create another key, run: aws kms delete-alias --alias-name {ALIAS}, "
                f"then run this command again"
            )


def _key(kms: Any, report: Callable[[str], None]) -> str:
    """Return the ARN of the key with the alias, which is created if necessary. The key policy is
    the default of AWS KMS: IAM policies of the account grant access."""
    try:
        key = kms.describe_key(KeyId=ALIAS)["KeyMetadata"]
        if key["KeyState"] != "Enabled":
            raise CommandFailed(
                f"the KMS key {ALIAS} is in the state {key['KeyState']}. {_enable(key)}"
            )
        report(f"the KMS key {ALIAS} exists")
    except kms.exceptions.NotFoundException:
        description = f"{PROJECT.capitalize()}: Pulumi state and secrets of the stacks"
        tags = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in TAGS]
        key = kms.create_key(Description=description, Tags=tags)["KeyMetadata"]
        kms.create_alias(AliasName=ALIAS, TargetKeyId=key["KeyId"])
        report(f"created the KMS key {ALIAS}")
    kms.enable_key_rotation(KeyId=key["KeyId"])
    return str(key["Arn"])


def _bucket_key(stack: Stack) -> str:
    return "state_bucket" if stack.project == ACCOUNT else "delivery.state_bucket"


def _bucket(
    s3: Any, bucket: str, key_arn: str, stack: Stack, report: Callable[[str], None]
) -> None:
    """Create the bucket if necessary, and configure it. An existing bucket keeps its lifecycle and
    the other statements of its policy."""
    owned = {"Bucket": bucket, "ExpectedBucketOwner": stack.account}
    if _exists(s3, owned, stack):
        _check_existing(s3, owned, key_arn, stack)
        report(f"the bucket {bucket} exists")
    else:
        location = (
            {"CreateBucketConfiguration": {"LocationConstraint": stack.region}}
            if stack.region != "us-east-1"
            else {}
        )
        s3.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced", **location)
        s3.put_bucket_tagging(**owned, Tagging={"TagSet": TAGS})
        expiration = {"NoncurrentVersionExpiration": {"NoncurrentDays": STATE_VERSION_DAYS}}
        rule = {"ID": "old-versions", "Status": "Enabled", "Filter": {"Prefix": ""}, **expiration}
        s3.put_bucket_lifecycle_configuration(**owned, LifecycleConfiguration={"Rules": [rule]})
        report(f"created the bucket {bucket}")
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(**owned, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    s3.put_bucket_versioning(**owned, VersioningConfiguration={"Status": "Enabled"})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn}
    encryption = {
        "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    }
    s3.put_bucket_encryption(**owned, ServerSideEncryptionConfiguration=encryption)
    s3.put_bucket_policy(**owned, Policy=_policy(s3, owned, stack))


def _exists(s3: Any, owned: dict[str, str], stack: Stack) -> bool:
    """Whether the bucket exists. Raises CommandFailed if the bucket belongs to another
    account.
    """
    try:
        s3.head_bucket(**owned)
    except ClientError as exc:
        status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        if status == 403:
            raise CommandFailed(
                f"the bucket {owned['Bucket']} belongs to another account, or the credentials may "
                "not read it. Use the credentials of an administrator, or set another name in "
                f"{_bucket_key(stack)}"
            ) from exc
        raise
    return True


def _check_existing(s3: Any, owned: dict[str, str], key_arn: str, stack: Stack) -> None:
    """Raise CommandFailed if the bucket is in another region, or encrypted with another KMS
    key.
    """
    location = s3.get_bucket_location(**owned).get("LocationConstraint") or "us-east-1"
    if location != stack.region:
        raise CommandFailed(
            f"the bucket {owned['Bucket']} is in {location}, but the stack is in {stack.region}. "
            f"Set another name in {_bucket_key(stack)}"
        )
    try:
        rules = s3.get_bucket_encryption(**owned)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError:
        return  # S3 encrypts the bucket with its own keys.
    defaults = [rule.get("ApplyServerSideEncryptionByDefault") or {} for rule in rules]
    other = [
        row.get("KMSMasterKeyID") or "aws/s3"
        for row in defaults
        if str(row.get("SSEAlgorithm", "")).startswith("aws:kms")
    ]
    if any(key != key_arn for key in other):
        raise CommandFailed(
            f"the bucket {owned['Bucket']} is encrypted with the KMS key {other[0]}. Set another "
            f"name in {_bucket_key(stack)}, or create the stack with this key: "
            "docs/guides/deploy.md, section 1"
        )


def _policy(s3: Any, owned: dict[str, str], stack: Stack) -> str:
    """The bucket policy: TLS is required. Statements of an existing policy stay."""
    arn = stack.names.s3_arn(owned["Bucket"])
    statement = deny_insecure_transport("s3:*", [arn, f"{arn}/*"])
    try:
        present = json.loads(s3.get_bucket_policy(**owned)["Policy"])["Statement"]
    except ClientError as exc:
        if exc.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        present = []
    return render(
        document(*(row for row in present if row.get("Sid") != statement["Sid"]), statement)
    )


def _init_stack(stack: Stack, report: Callable[[str], None]) -> None:
    root = stack.root
    if pulumi_cli.query("stack", "--show-name", "--stack", stack.name, root=root).returncode == 0:
        report(f"the stack {stack.name} exists")
        if not stack.secrets_provider:
            report(without_key(stack))
        return
    _query("stack", "init", stack.name, "--secrets-provider", secrets_provider(stack), root=root)
    report(f"created the stack {stack.name}. Commit {stack.file}")


def _query(*arguments: str, root: Path) -> None:
    result = pulumi_cli.query(*arguments, root=root)
    if result.returncode:
        message = pulumi_cli.last_line(result.stderr)
        raise CommandFailed(f"pulumi {arguments[0]} failed: {message}")
