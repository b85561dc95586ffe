"""Programs of other repositories."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import read
from gatehouse_policies.policy_check import CheckResult
from gatehouse_policies.reports.findings import Finding
from pulumi_local.errors import CommandError

from tests.cases import cases

_CASES = cases(__file__)

STACK = "config:\n  aws:region: eu-west-1\n"
PUBLIC_BUCKET = """
import json
import pulumi_aws as aws

bucket = aws.s3.Bucket("site")

def document(arn):
    read = {"Action": "s3:GetObject", "Resource": arn + "/*"}
    statement = {"Effect": "Allow", "Principal": "*", **read}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

aws.s3.BucketPolicy("site", bucket=bucket.id, policy=bucket.arn.apply(document))
"""
ANY: str = _CASES["any"]
ENCRYPTED = (
    "  shop:port: {secure: AAAB}\n  shop:password:\n    secure: AAAB\n"
    "  shop:db: {user: shop, password: {secure: AAAB}}\n"
)

Check = Callable[..., CheckResult]


Write = Callable[..., Path]


def write_program(
    folder: Path, code: str, stack: str = STACK, files: dict[str, str] | None = None
) -> Path:
    program = folder / "app"
    texts = {
        "Pulumi.yaml": "name: shop\nruntime: python\n",
        "Pulumi.dev.yaml": stack,
        "__main__.py": code,
        **(files or {}),
    }
    for name, text in texts.items():
        file = program / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    (folder / ".git").mkdir(exist_ok=True)
    return program


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(write_program, tmp_path)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    program = write_program(tmp_path_factory.mktemp("any"), ANY, STACK + ENCRYPTED)
    config = program / "policies.toml"
    config.write_text('regions = ["eu-west-1"]\n')
    return policy_check.check(program, "dev", levels="prod", configuration=read(config))


@pytest.fixture
def check(write: Write) -> Check:
    """A function that writes a program and checks it with the levels of dev.

    packs: empty for a program whose findings do not matter, because a pack takes a second to start.
    """

    def run(
        code: str,
        stack: str = STACK,
        files: dict[str, str] | None = None,
        packs: Sequence[Path] = policy_check.PACKS,
    ) -> CheckResult:
        return policy_check.check(write(code, stack, files), "dev", levels="dev", folders=packs)

    return run


def of_rule(result: CheckResult, rule: str, name: str = "") -> list[Finding]:
    return [item for item in result.findings if item.rule == rule and name in ("", name_of(item))]


def name_of(item: Finding) -> str:
    return item.urn.rpartition("::")[2]


# A relative entry would be cached for the folder of the first program.
PARENT_ON_PATH = "import os, sys\nsys.path.insert(0, os.path.abspath('..'))\n"


def test_modules_and_namespace_packages_outside_the_program_are_evaluated(check: Check) -> None:
    modules = {"site": "shared_site", "deep": "shared_site/deep", "nested": "shared_site/nested/a"}
    imports = (f"import {path.replace('/', '.')}.storage\n" for path in modules.values())
    files = {
        f"../{path}/storage.py": PUBLIC_BUCKET.replace("site", name)
        for name, path in modules.items()
    }
    result = check(PARENT_ON_PATH + "".join(imports), files=files)
    for name, path in modules.items():
        [public] = of_rule(result, "GH-S3-012", name)
        assert (public.outcome, public.source, public.passes) == (
            "violation",
            f"../{path}/storage.py:12",
            ("known",),
        )


def test_error_after_a_nested_namespace_package_is_that_of_the_program(check: Check) -> None:
    code = f"{PARENT_ON_PATH}from shared_site.deep import storage\n1 / 0\n"
    with pytest.raises(CommandError, match=r"__main__.py:4: ZeroDivisionError"):
        check(code, files={"../shared_site/deep/storage.py": PUBLIC_BUCKET}, packs=())


def test_account_and_region_are_those_of_the_provider(result: CheckResult) -> None:
    assert of_rule(result, "GH-SNS-001", "located")
    assert {item.outcome for item in of_rule(result, "GH-IAM-005", "github")} == {"violation"}


def test_region_of_a_provider_applies_to_regional_resources(result: CheckResult) -> None:
    assert {*map(name_of, of_rule(result, "GH-PUL-003"))} == {"main", "in-east"}


def test_document_can_be_an_object(result: CheckResult) -> None:
    [public] = of_rule(result, "GH-IAM-004", "document")
    assert (public.outcome, public.passes) == ("violation", ("known",))


def test_known_arn_decides_whatever_its_origin(result: CheckResult) -> None:
    assert of_rule(result, "GH-IAM-003", "of-own")


def test_encrypted_values_are_unknown(result: CheckResult) -> None:
    assert {*map(name_of, of_rule(result, "GH-RDS-012"))} == {"nested", "plain", "text"}
    assert result.run.unknown == ("shop:db", "shop:password", "shop:port")


def test_values_of_pulumi_esc_are_unknown(check: Check) -> None:
    stack = "environment:\n  imports: [shared]\n"
    code = """
    import pulumi

    config = pulumi.Config()
    assert config.get("optional") is None
    config.require_secret("elsewhere").apply(lambda key: 1 / 0)
    """
    assert check(code, stack + STACK, packs=()).run.unknown == ("Pulumi ESC",)


def test_outputs_of_other_providers_are_unknown(result: CheckResult) -> None:
    assert of_rule(result, "GH-SNS-001", "random")[0].passes == ("known",)


def test_resources_of_other_stacks_are_not_evaluated(result: CheckResult) -> None:
    evaluated = {*map(name_of, result.findings)}
    assert "jobs" in evaluated
    assert [name for name in evaluated if name.startswith("read-")] == []
    rules = {item.rule for item in result.findings if name_of(item) == "of-read"}
    assert {"GH-KMS-002", "GH-S3-001", "GH-IAM-003", "GH-EC2-001"} <= rules


def test_program_that_decodes_a_fake_result_runs_with_an_unknown_result(check: Check) -> None:
    code = """
    import json
    import pulumi_aws as aws

    secret = aws.secretsmanager.get_secret_version_output(secret_id="x")
    aws.sns.Topic("t", name=secret.secret_string.apply(lambda text: json.loads(text)["name"]))
    """
    result = check(code)
    assert of_rule(result, "GH-SNS-001", "t")[0].passes == ("known",)
    assert result.run.invented == ("getSecretVersion",)


def test_another_major_version_of_the_provider_is_rejected(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_check, "version", lambda _name: "6.83.0")
    with pytest.raises(CommandError, match=r"support pulumi-aws 7, but 6\.83\.0 is installed"):
        check("")


def test_types_of_other_packages_are_not_evaluated(result: CheckResult) -> None:
    assert "aws-native:s3:Bucket: all inputs" in result.run.unevaluated
    assert not any("Queue" in text for text in result.run.unevaluated)
    assert of_rule(result, "GH-PUL-008", "n")


def test_configuration_of_the_repository_is_applied(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(
        'regions = ["us-east-1"]\nrequired_tags = ["team"]\nharmless_names = '
        '["DEMO_PASSWORD"]\npublic_routes = ["GET /health"]\n'
        'load_balancer_groups = ["web", "listed"]\naccount_stacks = ["shop/dev"]\n'
        '[levels]\nGH-SNS-001 = {enforcementLevel = "disabled", reason = "public data"}\n'
        "[levels.staging]\nGH-COST-001 = {enforcementLevel = "
        '"advisory"}\n[stack_config]\n"shop:port" = 5432\n'
    )
    code = """
    import pulumi
    import pulumi_aws as aws

    assert pulumi.Config().require_int("port") == 5432
    other = pulumi.StackReference("org/other/dev")
    provider = aws.Provider("us", region="us-east-1", allowed_account_ids=["482912345678"])
    options = pulumi.ResourceOptions(provider=provider)
    aws.sns.Topic("t", opts=options)
    aws.ec2.Vpc("v", cidr_block="10.0.0.0/16", tags={"team": "shop"}, opts=options)
    variables = {"DEMO_PASSWORD": "hunter2hunter2", "API_PASSWORD": "hunter2hunter2"}
    code = pulumi.AssetArchive({"a.py": pulumi.StringAsset("")})
    role = "arn:aws:iam::482912345678:role/f"
    environment = {"variables": variables}
    aws.lambda_.Function("f", role=role, code=code, environment=environment, opts=options)
    for name in ("health", "orders"):
        aws.apigatewayv2.Route(name, api_id="a", route_key=f"GET /{name}", opts=options)
    https = {"ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_ipv4": "0.0.0.0/0"}
    groups = {
        name: aws.ec2.SecurityGroup(name, vpc_id="vpc-1", opts=options).id
        for name in ("web", "own")
    }
    groups |= dict.fromkeys(("remote", "listed"), other.get_output("group"))
    for name, group in groups.items():
        rule = name if name == "listed" else f"{name}-https"
        aws.vpc.SecurityGroupIngressRule(rule, security_group_id=group, **https, opts=options)
    """
    program = write(code, "config:\n  shop:port: {secure: AAAB}\n")
    result = policy_check.check(program, "dev", levels="staging", configuration=read(file))
    assert (result.run.environment, result.run.configuration) == ("staging", "policies.toml")
    assert not {"GH-PUL-003", "GH-SNS-001"} & {item.rule for item in result.findings}
    assert not of_rule(result, "GH-TAG-001", "v")
    assert [item.message for item in of_rule(result, "GH-TAG-001", "f")] == [
        "the tag team is missing"
    ]
    secrets = [item.message for item in of_rule(result, "GH-LAM-003") if "PASSWORD" in item.message]
    assert secrets == ["the environment variable API_PASSWORD probably contains a secret"]
    assert [*map(name_of, of_rule(result, "GH-API-002"))] == ["orders"]
    assert {item.level for item in of_rule(result, "GH-COST-001")} == {"advisory"}
    outcomes = {name_of(item): item.outcome for item in of_rule(result, "GH-VPC-004")}
    assert outcomes == {"own-https": "violation", "remote-https": "undecided"}


def test_configuration_of_a_rule_without_pack_is_rejected(write: Write, tmp_path: Path) -> None:
    program = write("")
    file = tmp_path / "policies.toml"
    file.write_text('[levels]\nACME-SNS-001 = "advisory"\n')
    with pytest.raises(
        CommandError,
        match=r"policies.toml: no pack has the rule ACME-SNS-001. Add the pack with --pack DIR",
    ):
        policy_check.check(program, "dev", folders=(), configuration=read(file))


def test_reports_are_in_the_folder_of_the_program(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    program = write("")
    # Found without an option.
    (program.parent / "policies.toml").write_text('account_stacks = ["shop/dev"]\n')
    assert main(["check", "--program", str(program), "--env", "dev", "--levels", "prod"]) == 1
    assert "GH-ACC-001" in capsys.readouterr().out
    (program.parent / "policies.toml").write_text('account_stacks = ["shop/live"]\n')
    assert main(["check", "--program", str(program), "--env", "dev", "--levels", "prod"]) == 0
    capsys.readouterr()
    folder = program / ".gatehouse"
    assert {file.name for file in (folder / "check").iterdir()} == {
        f"dev.prod.{suffix}" for suffix in ("txt", "sarif", "xml", "md", "html")
    }
    assert (folder / ".gitignore").read_text() == "*\n"


def test_name_decides_if_the_value_comes_from_another_stack(result: CheckResult) -> None:
    assert [
        (item.level, item.message)
        for item in of_rule(result, "GH-LAM-003", "of-stack")
        if "DB_PASSWORD" in item.message
    ] == [
        (
            "mandatory",
            "environment.variables.DB_PASSWORD is unknown, and its name indicates a secret",
        )
    ]
    [output] = of_rule(result, "GH-PUL-005")
    assert (output.outcome, output.passes, output.blocks) == ("violation", ("known",), True)
    assert "DB Password" in output.message


def test_name_decides_in_container_definitions_with_encrypted_values(result: CheckResult) -> None:
    [secret] = of_rule(result, "GH-ECS-005", "encrypted")
    assert (secret.outcome, secret.level, secret.message) == (
        "violation",
        "mandatory",
        "container_definitions[0].environment.DB_PASSWORD is unknown, and its name indicates a "
        "secret",
    )
    assert [item.outcome for item in of_rule(result, "GH-ECS-001", "encrypted")] == ["violation"]


def test_name_does_not_decide_if_the_value_becomes_known(result: CheckResult) -> None:
    assert of_rule(result, "GH-LAM-003", "of-secret") == []


def test_containers_that_no_pass_decides_are_not_accepted(result: CheckResult) -> None:
    [privileged] = of_rule(result, "GH-ECS-001", "of-stack")
    assert (privileged.outcome, privileged.passes) == ("undecided", ("known",))
    assert "accepted" not in privileged.message


def test_containers_that_the_second_pass_decides_are_accepted(result: CheckResult) -> None:
    assert [item.outcome for item in of_rule(result, "GH-ECS-001", "of-address")] == ["violation"]


def test_definite_violations_are_reported_behind_unknown_values(result: CheckResult) -> None:
    assert [item.message for item in of_rule(result, "GH-S3-001", "b")] == [
        "restrict_public_buckets is not true in b"
    ]
    assert [item.outcome for item in of_rule(result, "GH-VPC-004", "g")] == ["violation"]
    assert result.exit_code == 1


def test_resources_of_remote_components_are_undecided(result: CheckResult) -> None:
    [component] = of_rule(result, "GH-UNDECIDED", "remote")
    assert (component.outcome, component.passes) == ("undecided", ("known",))
    assert component.source.startswith("__main__.py:")
    assert component.resource_type == "awsx:ec2:Vpc"
    assert of_rule(result, "GH-SNS-001", "of-component")
    assert (component.level, component.severity, component.blocks) == ("", "", False)


def test_functions_of_other_providers_have_fake_results(check: Check, tmp_path: Path) -> None:
    package = """
    import pulumi

    @pulumi.output_type
    class GetUserResult:
        def __init__(__self__, email=None, admin=None):
            pulumi.set(__self__, "email", email)
            pulumi.set(__self__, "admin", admin)

        @property
        @pulumi.getter
        def email(self) -> str:
            return pulumi.get(self, "email")

        @property
        @pulumi.getter
        def admin(self) -> bool:
            return pulumi.get(self, "admin")

    def get_user():
        token = "forge:index/getUser:getUser"
        return pulumi.runtime.invoke(token, {"name": "ci"}, typ=GetUserResult).value
    """
    result = check(
        "import pulumi_forge\nuser = pulumi_forge.get_user()\nassert '@' not in user.email and "
        "user.admin is False\n",
        files={"pulumi_forge.py": package},
        packs=(),
    )
    assert result.run.invented == ("getUser",)


FAILING: list[list[Any]] = _CASES["failing"]


@pytest.mark.parametrize(
    ("code", "stack", "files", "message"),
    FAILING,
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_program_that_cannot_be_evaluated_is_explained(
    check: Check, code: str, stack: str, files: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        check(code, STACK + stack, files, packs=())


def test_program_that_stops_after_a_lookup_is_undecided(check: Check) -> None:
    """The lookup can be the reason, so that the check has a result and an exit code of its own."""
    code = "import pulumi_aws as aws\naws.route53.get_zone(name='x')\nlen(3)\n"
    result = check(code, packs=())
    assert [(each.rule, each.outcome) for each in result.findings] == [
        ("GH-UNDECIDED", "undecided")
    ]
    assert result.exit_code == 3


FORMS: str = _CASES["forms"]


def test_results_have_the_form_of_real_results(check: Check) -> None:
    stack = "config:\n  aws:region: ap-south-1\n  aws:allowedAccountIds: ['482912345678']\n"
    assert check(FORMS, stack, packs=()).findings == []


def test_finding_about_an_output_has_the_line_of_its_export(check: Check) -> None:
    code = """
    import outputs
    import pulumi

    pulumi.export("db", {"password": "hunter2-9Xk2-lQ7z"})
    for name in ("first", "second"):
        outputs.export(f"{name}-token", "hunter2-9Xk2-lQ7z-8pW")
    """
    module = "import pulumi\n\ndef export(name, value):\n    pulumi.export(name, value)\n"
    result = check(code, files={"outputs.py": module})
    found = {item.source for item in of_rule(result, "GH-PUL-005")}
    assert found == {"__main__.py:5", "outputs.py:4"}


def test_program_without_stack_files_has_no_configuration(write: Write) -> None:
    folder = (
        write(
            "",
            files={
                "sub/__main__.py": PUBLIC_BUCKET,
                "sub/Pulumi.yaml": "name: shop\nruntime: python\n",
            },
        )
        / "sub"
    )
    result = policy_check.check(folder, "dev", levels="dev")
    assert [name_of(item) for item in of_rule(result, "GH-S3-012")] == ["site"]
    (folder / "Pulumi.prod.yaml").write_text("config: {}\n")
    with pytest.raises(CommandError, match="Available stacks: prod"):
        policy_check.check(folder, "dev", levels="dev")


def test_placeholder_whose_changes_are_ignored_is_no_secret(check: Check) -> None:
    words = ["changeme", "CHANGE_ME", "placeholder", "TODO", "replace-me", "dummy", "unset", "tbd"]
    code = f"""
    import pulumi
    import pulumi_aws as aws

    def ignored(name):
        return pulumi.ResourceOptions(ignore_changes=[name])

    for word in {words!r}:
        arguments = {{"type": "SecureString", "name": f"/{{word}}/password", "value": word}}
        aws.ssm.Parameter(f"{{word}}", **arguments, opts=ignored("value"))
        aws.ssm.Parameter(f"{{word}}-kept", **arguments, opts=ignored("tags"))
        aws.secretsmanager.SecretVersion(
            f"{{word}}-version", secret_id="s", secret_string=word, opts=ignored("secret_string")
        )
        aws.redshift.Cluster(
            f"{{word}}-cluster", cluster_identifier="a", node_type="ra3.large",
            master_password=word, opts=ignored("master_password"),
        )
    real = {{"type": "SecureString", "name": "/db/password", "value": "hunter2-9Xk2"}}
    aws.ssm.Parameter("real", **real, opts=ignored("value"))
    """
    result = check(code)
    found = {name_of(item) for item in of_rule(result, "GH-SSM-001")}
    assert found == {"real", *(f"{word}-kept" for word in words)}
    assert of_rule(result, "GH-SM-006") == of_rule(result, "GH-SM-009") == []


def test_encryption_by_aws_and_unknown_values_are_rated_lower(check: Check) -> None:
    code = """
    import pulumi
    import pulumi_aws as aws

    token = pulumi.Config().require_secret("password")
    aws.secretsmanager.SecretVersion("encrypted", secret_id="s", secret_string=token)
    aws.secretsmanager.SecretVersion("plain", secret_id="s", secret_string="hunter2-9Xk2")
    aws.kms.Key("key")
    aws.rds.Instance("db", instance_class="db.t4g.micro", manage_master_user_password=True)
    aws.rds.Instance("open", instance_class="db.t4g.micro", password="hunter2-9Xk2")
    environment = {"variables": {"LEVEL": "info"}}
    aws.lambda_.Function("f", role="r", environment=environment)
    """
    result = check(code, stack=STACK + ENCRYPTED)
    severities = {
        name_of(item): item.severity
        for item in result.findings
        if item.rule in ("GH-SM-006", "GH-KMS-002", "GH-RDS-012", "GH-LAM-003")
    }
    assert severities == {
        "encrypted": "medium",
        "plain": "critical",
        "key": "medium",
        "db": "low",
        "open": "critical",
        "f": "low",
    }
