"""`check` evaluates programs of other repositories: shared folders, other accounts, encrypted
configuration, other providers and resources of other stacks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import read
from gatehouse_policies.errors import CheckError
from gatehouse_policies.policy_check import CheckResult
from gatehouse_policies.reports.findings import Finding

STACK = "config:\n  aws:region: eu-west-1\n"
PUBLIC_BUCKET = """
import json
import pulumi_aws as aws

bucket = aws.s3.Bucket("site")

def document(arn):
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": arn + "/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

aws.s3.BucketPolicy("site", bucket=bucket.id, policy=bucket.arn.apply(document))
"""  # noqa: E501
RANDOM = """
import pulumi
import pulumi_aws as aws

class RandomId(pulumi.CustomResource):
    hex: pulumi.Output[str]

    def __init__(self, name):
        super().__init__("random:index/randomId:RandomId", name, {"byteLength": 4, "hex": None})

suffix = RandomId("suffix")
"""
LEVELS = "dev"

Check = Callable[..., CheckResult]


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a program below a repository folder: code, stack file, other files."""

    def write_program(code: str, stack: str = STACK, files: dict[str, str] | None = None) -> Path:
        program = tmp_path / "app"
        texts = {
            "Pulumi.yaml": "name: shop\nruntime: python\n",
            "Pulumi.dev.yaml": stack,
            "__main__.py": code,
            **(files or {}),
        }
        for name, text in texts.items():
            file = program / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text), encoding="utf-8")
        (tmp_path / ".git").mkdir(exist_ok=True)
        return program

    return write_program


@pytest.fixture
def check(write: Write) -> Check:
    """A function that writes a program and checks it with the levels of an environment.

    packs: empty for a program whose findings do not matter, because a pack takes a second to start.
    """

    def run(
        code: str,
        stack: str = STACK,
        levels: str = LEVELS,
        files: dict[str, str] | None = None,
        packs: Sequence[Path] = policy_check.PACKS,
    ) -> CheckResult:
        return policy_check.check(write(code, stack, files), "dev", levels=levels, folders=packs)

    return run


def of_rule(result: CheckResult, rule: str, name: str = "") -> list[Finding]:
    return [
        item
        for item in result.findings
        if item.rule == rule and (not name or item.urn.endswith(f"::{name}"))
    ]


def test_module_outside_the_program_is_evaluated_in_both_passes(check: Check) -> None:
    code = "import sys\nsys.path.insert(0, '..')\nfrom shared_site import storage\n"
    result = check(code, files={"../shared_site/storage.py": PUBLIC_BUCKET})
    [public] = of_rule(result, "GH-S3-012", "site")
    assert (public.outcome, public.source, public.passes) == (
        "violation",
        "../shared_site/storage.py:11",
        ("known",),
    )
    assert of_rule(result, "GH-S3-011", "site")[0].passes == ("unknown", "known")


def test_account_and_region_are_those_of_the_provider(check: Check) -> None:
    result = check(
        """
        import pulumi
        import pulumi_aws as aws

        provider = aws.Provider("main", region="us-west-2", allowed_account_ids=["482912345678"])
        options = pulumi.InvokeOptions(provider=provider)
        assert aws.get_caller_identity(opts=options).account_id == "482912345678"
        assert aws.get_region(opts=options).region == "us-west-2"
        topic = aws.sns.Topic("t", opts=pulumi.ResourceOptions(provider=provider))
        topic.arn.apply(lambda arn: pulumi.log.info(arn) if "us-west-2:482912345678" in arn else 1 / 0)
        """  # noqa: E501
    )
    assert of_rule(result, "GH-SNS-001", "t")


def test_default_provider_has_account_and_region_of_the_stack(check: Check) -> None:
    stack = "config:\n  aws:region: ap-south-1\n  aws:allowedAccountIds: ['482912345678']\n"
    code = "import pulumi_aws as aws\nassert aws.get_region().region == 'ap-south-1'\n"
    code += "assert aws.get_caller_identity().account_id == '482912345678'\n"
    check(code, stack, packs=())


def test_encrypted_values_are_unknown(check: Check) -> None:
    result = check(
        """
        import pulumi
        import pulumi_aws as aws

        config = pulumi.Config()
        config.require_secret("port").apply(lambda port: int(port))
        config.require_secret_int("port").apply(lambda port: 1 / 0)
        assert config.get("absent") is None
        assert config.require_object("db")["user"] == "shop"
        aws.rds.Instance("plain", instance_class="db.t4g.micro", password=config.require("password"))
        aws.rds.Instance("text", instance_class="db.t4g.micro", password=f"prefix-{config.require('password')}")
        aws.rds.Instance("nested", instance_class="db.t4g.micro", password=config.require_object("db")["password"])
        """,  # noqa: E501
        STACK + "  shop:port: {secure: AAAB}\n  shop:password:\n    secure: AAAB\n"
        "  shop:db: {user: shop, password: {secure: AAAB}}\n",
    )
    assert {item.urn.rpartition("::")[2] for item in of_rule(result, "GH-RDS-012")} == {
        "nested",
        "plain",
        "text",
    }
    assert result.run.unknown == ("shop:db", "shop:password", "shop:port")


def test_plain_reader_of_an_encrypted_number_names_the_key(check: Check) -> None:
    with pytest.raises(
        CheckError,
        match=r"__main__.py:2: The program reads shop:port as an integer.*\[stack_config\]",
    ):
        check(
            "import pulumi\npulumi.Config().require_int('port')\n",
            STACK + "  shop:port: {secure: AAAB}\n",
        )


def test_values_of_pulumi_esc_are_unknown(check: Check) -> None:
    stack = "environment:\n  imports: [shared]\n"
    code = """
    import pulumi

    config = pulumi.Config()
    assert config.get("optional") is None
    config.require_secret("elsewhere").apply(lambda key: 1 / 0)
    """
    assert check(code, stack + STACK, packs=()).run.unknown == ("Pulumi ESC",)


def test_outputs_of_other_providers_are_unknown(check: Check) -> None:
    code = RANDOM + "aws.s3.Bucket('b', bucket=pulumi.Output.concat('jobs-', suffix.hex))\n"
    code += (
        "aws.sns.Topic('t', name=suffix.hex.apply(lambda text: text.lower()), "
        "display_name=suffix.id)\n"
    )
    result = check(code)
    assert of_rule(result, "GH-SNS-001", "t")[0].passes == ("unknown", "known")


def test_resources_of_other_stacks_have_their_ids_and_are_not_evaluated(check: Check) -> None:
    code = """
    import pulumi_aws as aws

    bucket = aws.s3.Bucket.get("b", "other-bucket")
    bucket.arn.apply(lambda arn: 1 / int(arn == "arn:aws:s3:::other-bucket"))
    aws.kms.Key.get("k", "1234")
    aws.ec2.Vpc.get("v", "vpc-1")
    aws.rds.Instance.get("d", "database")
    aws.s3.Bucket("own")
    """
    result = check(code, levels="prod")
    evaluated = {item.urn.rpartition("::")[2] for item in result.findings}
    assert "own" in evaluated
    assert not evaluated & {"b", "k", "v", "d"}


def test_program_that_decodes_a_fake_result_runs_with_an_unknown_result(check: Check) -> None:
    code = """
    import json
    import pulumi_aws as aws

    secret = aws.secretsmanager.get_secret_version_output(secret_id="x")
    aws.sns.Topic("t", name=secret.secret_string.apply(lambda text: json.loads(text)["name"]))
    """
    result = check(code)
    assert of_rule(result, "GH-SNS-001", "t")[0].passes == ("unknown", "known")
    assert result.run.invented == ("getSecretVersion",)


def test_program_that_needs_a_real_result_is_explained(check: Check) -> None:
    code = (
        "import json\nimport pulumi_aws as "
        "aws\njson.loads(aws.secretsmanager.get_secret_version(secret_id='x').secret_string)\n"
    )
    with pytest.raises(
        CheckError,
        match=r"__main__.py:3: JSONDecodeError.*The results of getSecretVersion are not real",
    ):
        check(code)


def test_map_output_is_unknown(check: Check) -> None:
    code = (
        "import pulumi_aws as aws\napi = aws.appsync.GraphQLApi('api', "
        "authentication_type='API_KEY')\n"
    )
    check(code + "api.uris.apply(lambda uris: uris['GRAPHQL'])\n", packs=())


def test_missing_package_is_named_with_the_command_that_installs_it(check: Check) -> None:
    with pytest.raises(
        CheckError,
        match=r"__main__.py:1: ModuleNotFoundError: .*-m pip install pulumi-hcloud-absent",
    ):
        check("import pulumi_hcloud_absent\n")


def test_another_major_version_of_the_provider_is_rejected(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_check, "version", lambda _name: "6.83.0")
    with pytest.raises(CheckError, match=r"support pulumi-aws 7, but 6\.83\.0 is installed"):
        check("")


def test_report_counts_resources_without_rules(check: Check) -> None:
    result = check(
        f"{RANDOM}pulumi.CustomResource('aws-native:s3:Bucket', 'n', {{}})\n"
        "aws.sqs.Queue.get('read', 'q')\n",
        packs=(),
    )
    assert result.run.without_rules == {
        "random:index/randomId:RandomId": 1,
        "aws-native:s3:Bucket": 1,
    }
    assert (
        "no rule for 2 resources (aws-native:s3:Bucket, random:index/randomId:RandomId)"
        in result.text("table").replace("\n", " ")
    )


def test_configuration_of_the_repository_is_applied(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(
        'regions = ["us-east-1"]\nrequired_tags = ["team"]\nharmless_names = '
        '["DEMO_PASSWORD"]\npublic_routes = ["GET /health"]\n'
        '[levels]\nGH-SNS-001 = "disabled"\n'
        "[levels.staging]\nGH-COST-001 = {enforcementLevel = "
        '"advisory"}\n[stack_config]\n"shop:port" = 5432\n'
    )
    code = """
    import pulumi
    import pulumi_aws as aws

    assert pulumi.Config().require_int("port") == 5432
    provider = aws.Provider("us", region="us-east-1", allowed_account_ids=["482912345678"])
    options = pulumi.ResourceOptions(provider=provider)
    aws.sns.Topic("t", opts=options)
    aws.ec2.Vpc("v", cidr_block="10.0.0.0/16", tags={"team": "shop"}, opts=options)
    variables = {"DEMO_PASSWORD": "hunter2hunter2"}
    code = pulumi.AssetArchive({"a.py": pulumi.StringAsset("")})
    role = "arn:aws:iam::482912345678:role/f"
    aws.lambda_.Function("f", role=role, code=code, environment={"variables": variables}, opts=options)
    aws.apigatewayv2.Route("r", api_id="a", route_key="GET /health", opts=options)
    """  # noqa: E501
    stack = "config:\n  shop:port: {secure: AAAB}\n"
    configured = {"GH-PUL-003", "GH-TAG-001", "GH-API-002", "GH-SNS-001"}

    plain = check(
        code.replace('require_int("port") == 5432', 'require("port")'), stack, levels="staging"
    )
    assert configured <= {item.rule for item in plain.findings}
    assert any("DEMO_PASSWORD" in item.message for item in of_rule(plain, "GH-LAM-003"))

    configuration = read(file)
    program = tmp_path / "app"
    (program / "__main__.py").write_text(dedent(code))
    result = policy_check.check(program, "dev", levels="staging", configuration=configuration)
    assert (result.run.environment, result.run.configuration) == ("staging", "policies.toml")
    assert not {"GH-PUL-003", "GH-API-002", "GH-SNS-001"} & {item.rule for item in result.findings}
    assert not of_rule(result, "GH-TAG-001", "v")
    assert [item.message for item in of_rule(result, "GH-TAG-001", "f")] == [
        "the tag team is missing"
    ]
    assert not any("DEMO_PASSWORD" in item.message for item in of_rule(result, "GH-LAM-003"))
    assert {item.level for item in of_rule(result, "GH-COST-001")} == {"advisory"}


def test_configuration_of_a_rule_without_pack_is_rejected(write: Write, tmp_path: Path) -> None:
    program = write("")
    file = tmp_path / "policies.toml"
    file.write_text('[levels]\nACME-SNS-001 = "advisory"\n')
    with pytest.raises(
        CheckError,
        match=r"policies.toml: no pack has the rule ACME-SNS-001. Add the pack with --pack DIR",
    ):
        policy_check.check(program, "dev", configuration=read(file))


def test_reports_are_in_the_folder_of_the_program(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    program = write("")
    assert main(["check", "--program", str(program), "--env", "dev", "--levels", "prod"]) == 1
    assert "GH-ACC-001" in capsys.readouterr().out
    folder = program / ".gatehouse"
    assert {file.name for file in (folder / "check").iterdir()} == {
        f"dev.prod.{suffix}" for suffix in ("txt", "sarif", "xml", "md")
    }
    assert (folder / ".gitignore").read_text() == "*\n"


REFERENCE = (
    "import json\nimport pulumi\nimport pulumi_aws as aws\nother = "
    "pulumi.StackReference('org/other/dev')\n"
)
FUNCTION = """
code = pulumi.AssetArchive({"a.py": pulumi.StringAsset("")})
variables = {"DB_PASSWORD": VALUE}
key = "arn:aws:kms:eu-west-1:123456789012:key/1"
role = "arn:aws:iam::123456789012:role/f"
aws.lambda_.Function("f", role=role, code=code, kms_key_arn=key, environment={"variables": variables})
pulumi.export("dbPassword", VALUE)
"""  # noqa: E501


def test_name_decides_if_the_value_comes_from_another_stack(check: Check) -> None:
    result = check(REFERENCE + FUNCTION.replace("VALUE", "other.get_output('password')"))
    assert [
        (item.level, item.message)
        for item in of_rule(result, "GH-LAM-003")
        if "DB_PASSWORD" in item.message
    ] == [
        (
            "mandatory",
            "environment.variables.DB_PASSWORD is unknown, and its name indicates a secret",
        )
    ]
    [output] = of_rule(result, "GH-PUL-005")
    assert (output.outcome, output.passes, output.blocks) == ("violation", ("known",), True)


def test_name_decides_in_container_definitions_with_encrypted_values(check: Check) -> None:
    code = """
    import json
    import pulumi
    import pulumi_aws as aws

    config = pulumi.Config()
    values = {"DB_PASSWORD": config.require("password"), "HOST": config.require("host"), "MAX_TOKENS": "1000"}
    environment = [{"name": name, "value": value} for name, value in values.items()]
    definitions = [{"name": "web", "image": config.require("image"), "privileged": True, "environment": environment}]
    aws.ecs.TaskDefinition("task", family="task", container_definitions=json.dumps(definitions))
    """  # noqa: E501
    encrypted = "".join(
        f"  shop:{key}: {{secure: AAAB}}\n" for key in ("password", "host", "image")
    )
    result = check(code, STACK + encrypted)
    [secret] = of_rule(result, "GH-ECS-005")
    assert (secret.outcome, secret.level, secret.message) == (
        "violation",
        "mandatory",
        (
            "containerDefinitions[0].environment.DB_PASSWORD is unknown, and its name indicates a "
            "secret"
        ),
    )
    assert [item.outcome for item in of_rule(result, "GH-ECS-001")] == ["violation"]


def test_load_balancer_in_another_stack(write: Write, tmp_path: Path) -> None:
    code = """
    https = {"ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_ipv4": "0.0.0.0/0"}
    for name in ("web", "other"):
        group = aws.ec2.SecurityGroup(name, vpc_id="vpc-1")
        aws.vpc.SecurityGroupIngressRule(f"{name}-https", security_group_id=group.id, **https)
    aws.vpc.SecurityGroupIngressRule("remote", security_group_id=other.get_output("group"), **https)
    aws.vpc.SecurityGroupIngressRule("listed", security_group_id=other.get_output("group"), **https)
    """
    program = write(REFERENCE + dedent(code))
    file = tmp_path / "policies.toml"
    file.write_text('load_balancer_groups = ["web", "listed"]\n')
    result = policy_check.check(program, "dev", configuration=read(file))
    outcomes = {
        item.urn.rpartition("::")[2]: item.outcome for item in of_rule(result, "GH-VPC-004")
    }
    assert outcomes == {"other-https": "violation", "remote": "undecided"}


def test_name_does_not_decide_if_the_value_becomes_known(check: Check) -> None:
    code = FUNCTION.replace("VALUE", "secret.arn")
    result = check(
        "import pulumi\nimport pulumi_aws as aws\nsecret = aws.secretsmanager.Secret('s')\n" + code
    )
    assert [item.outcome for item in of_rule(result, "GH-PUL-005")] == ["undecided"]
    assert {
        item.outcome for item in of_rule(result, "GH-LAM-003") if "DB_PASSWORD" in item.message
    } == {"undecided"}


TASK = """
def containers(host):
    environment = [{"name": "HOST", "value": host}]
    return json.dumps([{"name": "a", "image": "nginx:latest", "privileged": True, "environment": environment}])

aws.ecs.TaskDefinition("task", family="task", network_mode="awsvpc", container_definitions=HOST.apply(containers))
"""  # noqa: E501


@pytest.mark.parametrize(("levels", "blocks"), [("dev", False), ("prod", True)])
def test_containers_that_no_pass_decides_are_not_accepted(
    check: Check, levels: str, blocks: bool
) -> None:
    result = check(
        REFERENCE + TASK.replace("HOST.apply", "other.get_output('host').apply"), levels=levels
    )
    [privileged] = of_rule(result, "GH-ECS-001")
    assert (privileged.outcome, privileged.blocks, privileged.passes) == (
        "undecided",
        blocks,
        ("unknown", "known"),
    )
    assert "accepted" not in privileged.message


def test_containers_that_the_second_pass_decides_are_accepted(check: Check) -> None:
    code = "address = aws.ec2.Eip('a').allocation_id\n" + TASK.replace(
        "HOST.apply", "address.apply"
    )
    result = check(REFERENCE + code, levels="prod")
    assert [item.outcome for item in of_rule(result, "GH-ECS-001")] == ["violation"]


def test_definite_violations_are_reported_behind_unknown_values(check: Check) -> None:
    result = check(
        REFERENCE
        + """
bucket = aws.s3.Bucket("b")
aws.s3.BucketPublicAccessBlock(
    "b", bucket=bucket.id, block_public_acls=other.get_output("x"), block_public_policy=True, ignore_public_acls=True
)
rule = {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": [other.get_output("y"), "0.0.0.0/0"]}
aws.ec2.SecurityGroup("g", vpc_id="vpc-1", ingress=[rule])
"""  # noqa: E501
    )
    assert [item.message for item in of_rule(result, "GH-S3-001", "b")] == [
        "restrictPublicBuckets is not true in b"
    ]
    assert [item.outcome for item in of_rule(result, "GH-VPC-004", "g")] == ["violation"]
    assert result.exit_code == 1


REMOTE = """
from collections.abc import Sequence

import pulumi
import pulumi_aws as aws


class Vpc(pulumi.ComponentResource):
    vpc_id: pulumi.Output[str]
    gateways: pulumi.Output[Sequence[str]]

    def __init__(self, name):
        super().__init__("awsx:ec2:Vpc", name, {"gateways": {"strategy": "Single"}, "vpc_id": None}, remote=True)


vpc = Vpc("main")
vpc.gateways.apply(lambda gateways: 1 / 0)
aws.sns.Topic("t", display_name=vpc.vpc_id.apply(lambda identity: identity.upper()))
"""  # noqa: E501


def test_resources_of_remote_components_are_undecided(check: Check) -> None:
    result = check(REMOTE, levels="prod")
    [component] = of_rule(result, "GH-UNDECIDED", "main")
    assert (component.outcome, component.source, component.passes) == (
        "undecided",
        "__main__.py:16",
        ("unknown", "known"),
    )
    assert component.resource_type == "awsx:ec2:Vpc"
    assert of_rule(result, "GH-SNS-001", "t")
    assert component.blocks


def test_registry_credentials_can_be_decoded(check: Check) -> None:
    check(
        """
        import base64
        import pulumi_aws as aws

        for result in (aws.ecr.get_credentials(registry_id="1"), aws.ecr.get_authorization_token()):
            user, password = base64.b64decode(result.authorization_token).decode().split(":")
            assert user == "AWS" and password
        """,
        packs=(),
    )


def test_missing_module_is_installed_from_the_requirements_of_the_program(
    check: Check, tmp_path: Path
) -> None:
    with pytest.raises(
        CheckError, match=r"ModuleNotFoundError: .*-m pip install -r .*/app/requirements.txt"
    ):
        check(
            "import mysql_absent.connector\n",
            files={"requirements.txt": "mysql-connector-python\n"},
        )


def test_program_in_another_language_is_checked_after_its_deployment(check: Check) -> None:
    with pytest.raises(CheckError, match=r"runtime is 'yaml', .*pulumi stack export .*--state"):
        check("", files={"Pulumi.yaml": "name: shop\nruntime: yaml\n"})


def test_arguments_of_functions_have_the_types_of_the_results(check: Check) -> None:
    check(
        """
        import pulumi_aws as aws

        assert aws.ec2.get_ami(most_recent="true", owners=["amazon"]).most_recent is True
        """,
        packs=(),
    )


def test_name_of_an_output_with_spaces_decides(check: Check) -> None:
    result = check(
        RANDOM + "pulumi.export('DB Password', suffix.hex)\npulumi.export('Web URL', suffix.hex)\n",
        levels="prod",
    )
    [secret] = of_rule(result, "GH-PUL-005")
    assert (secret.outcome, secret.blocks) == ("violation", True)
    assert "DB Password" in secret.message


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
        return pulumi.runtime.invoke("forge:index/getUser:getUser", {"name": "ci"}, typ=GetUserResult).value
    """  # noqa: E501
    result = check(
        (
            "import pulumi_forge\nuser = pulumi_forge.get_user()\nassert '@' not in user.email and "
            "user.admin is False\n"
        ),
        files={"pulumi_forge.py": package},
        packs=(),
    )
    assert result.run.invented == ("getUser",)
