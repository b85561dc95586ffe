"""Nothing that a check invents is judged: programs use the outputs of types and the results of
lookups in every way, and no violation names them.
"""

import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pulumi_aws
import pytest
from gatehouse_policies import configuration, policy_check
from gatehouse_policies.configuration import Configuration
from gatehouse_policies.policy_check import CheckResult
from pulumi_local.errors import CommandError
from pulumi_local.outputs.fake_outputs import fake_outputs
from pulumi_local.outputs.invented import is_invented
from pulumi_local.schema import Schema, schema
from pulumi_local.types import UNKNOWN, Registration

from tests.pulumi_local.outputs.test_fake_outputs import PLACE, types

STEP = 1 if "GATEHOUSE_EXAMPLES" in os.environ else 58
ACCOUNT = PLACE.account
DEFAULTS = Configuration()
# Messages of the rules that compare texts with what belongs to the program.
JUDGED = re.compile(
    r"which is not|others can match|names account|probably contains a secret|"
    r"is set by the program|contain the internet|without TLS$|allows the internet"
)
HEAD = f'''
import base64, json, re
import pulumi
import pulumi_aws as aws

provider = aws.Provider("p", region="eu-west-1", allowed_account_ids=["{ACCOUNT}"])
opts = pulumi.ResourceOptions(provider=provider)

class Any(pulumi.CustomResource):
    def __init__(self, token, name, outputs, inputs):
        super().__init__(token, name, dict.fromkeys(outputs) | inputs, opts)

def document(key, value):
    return {{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-data/*",
        "Condition": {{"StringLike": {{key: value}}}}}}]}}

def use(name, key, value):
    policies = [
        value.apply(lambda v: json.dumps(document(key, v))),
        pulumi.Output.all(v=value).apply(lambda a: json.dumps(document(key, a["v"]))),
        pulumi.Output.json_dumps(document(key, value)),
        aws.iam.get_policy_document_output(statements=[{{
            "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::acme-data/*"],
            "principals": [{{"type": "*", "identifiers": ["*"]}}],
            "conditions": [{{"test": "StringLike", "variable": key, "values": [value]}}],
        }}]).json,
    ]
    for number, policy in enumerate(policies):
        aws.s3.BucketPolicy(f"{{name}}-{{number}}", bucket="acme-data", policy=policy, opts=opts)
    texts = [
        value, value.apply(str.upper), value.apply(lambda v: v.replace("-", "_")),
        value.apply(lambda v: base64.b64encode(v.encode()).decode()),
        pulumi.Output.concat("https://", value, "/hook"),
    ]
    for number, text in enumerate(texts):
        aws.ssm.Parameter(
            f"{{name}}-{{number}}", type="String", name=f"/{{name}}", value=text, opts=opts)
        aws.sns.TopicSubscription(
            f"{{name}}-{{number}}", topic="a", protocol="https", endpoint=text, opts=opts)
    aws.vpc.SecurityGroupIngressRule(
        name, security_group_id="sg-1", ip_protocol="tcp", from_port=22, to_port=22,
        cidr_ipv4=value, opts=opts)
'''


def _key(name: str) -> str:
    if name.lower().endswith("arn"):
        return "aws:SourceArn" if len(name) % 2 else "aws:PrincipalArn"
    return {"ownerId": "aws:PrincipalAccount", "id": "aws:SourceVpc"}.get(name, "aws:SourceVpce")


def _uses() -> Iterator[str]:
    """A resource of each type, with uses of its ID and of its texts, lists and maps."""
    tokens = ["aws:ec2/vpc:Vpc", "aws:ec2/vpcEndpoint:VpcEndpoint", *list(types())[::STEP]]
    for number, token in enumerate(tokens):
        known = schema(token)
        assert isinstance(known, Schema)
        registration = Registration(f"urn:{token}", token, "x", True, "", {})
        values = fake_outputs(registration, known, PLACE)[1]
        names = [
            key
            for key, value in values.items()
            if isinstance(value, str) and value not in (UNKNOWN, PLACE.region)
        ]
        yield f'r = Any("{token}", "r{number}", {names!r}, {{}})'
        yield f'use("r{number}-id", "aws:SourceVpc{"e" if "Endpoint" in token else ""}", r.id)'
        for name in names[:6]:
            yield f'use("r{number}-{name}", "{_key(name)}", r.__dict__["{name}"])'


def _check(
    folder: Path,
    text: str,
    loaded: Configuration = DEFAULTS,
    config: str = "config:\n  aws:region: eu-west-1\n",
) -> CheckResult:
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "Pulumi.prod.yaml").write_text(config)
    (folder / "__main__.py").write_text(text)
    return policy_check.check(folder, "prod", configuration=loaded)


def _judged(result: CheckResult) -> list[tuple[str, str]]:
    return [
        (each.urn.rpartition("::")[2], each.message)
        for each in result.findings
        if each.outcome in ("violation", "broken")
        and (JUDGED.search(each.message) or is_invented(each.message))
    ]


def test_no_violation_names_an_output_of_the_program(tmp_path: Path) -> None:
    result = _check(tmp_path, HEAD + "\n".join(_uses()))
    assert result.run.resources > 150
    assert result.run.stopped == ""
    assert _judged(result) == []


def _functions() -> Iterator[tuple[str, list[str]]]:
    """Each function of the provider, with its required parameters."""
    for folder in sorted(Path(pulumi_aws.__file__).parent.glob("*/")):
        module = getattr(pulumi_aws, folder.name, None)
        for file in sorted(folder.glob("get_*.py")):
            function = getattr(module, file.stem, None)
            if function is not None:
                parameters = inspect.signature(function).parameters.values()
                yield (
                    f"{folder.name}.{file.stem}",
                    [each.name for each in parameters if each.default is each.empty],
                )


PARSE = """
import ipaddress

def texts(result):
    if isinstance(result, dict):
        return [value for value in result.values() if isinstance(value, str)]
    return [value for value in vars(result).values() if isinstance(value, str)]

def parse(value):
    document = json.loads(value) if value[:1] in "{[x" or "fakeoutput" in value else {}
    if isinstance(document, dict) and "fakeoutput" in value:
        document["Statement"] if "Statement" in value else document["username"]
        document.get("password")
    return [value.split(":")[0], value.split("/")[-1], value[4:], value.encode()]

def lookup(module, name, arguments):
    result = getattr(getattr(aws, module), name)(**arguments)
    for value in texts(result):
        parse(value)
    output = getattr(getattr(aws, module), f"{name}_output")(**arguments)
    used = output.apply(lambda found: [parse(value) for value in texts(found)])
    for number, value in enumerate(texts(result)[:4]):
        aws.ssm.Parameter(
            f"{module}-{name}-{number}", type="String", value=value, name="a", opts=opts)
    first = output.apply(lambda found: next((v for v in texts(found) if "fakeoutput" in v), ""))
    aws.iam.Policy(f"{module}-{name}", opts=opts, policy=aws.iam.get_policy_document_output(
        source_policy_documents=[first],
        statements=[{"actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::acme/*"]}]).json)
"""


def test_no_lookup_stops_the_check(tmp_path: Path) -> None:
    functions = list(_functions())
    assert len(functions) > 400
    calls = [
        f'lookup("{module}", "{name}", {dict.fromkeys(required, "x")!r})'
        for module, name, required in ((*name.split("."), rest) for name, rest in functions[::STEP])
    ]
    result = _check(tmp_path, "\n".join((HEAD, PARSE, *calls)))
    assert result.run.stopped == ""
    assert [each for each in result.findings if "apply is unknown" in each.message] == []
    assert _judged(result) == []


SECRETS = """
secret = json.loads(aws.secretsmanager.get_secret_version(secret_id="x").secret_string)
parameter = json.loads(aws.ssm.get_parameter(name="x").value)
aws.ssm.Parameter("a", type="String", name="a", value=secret["url"], opts=opts)
aws.ssm.Parameter("b", type="String", name="b", value=parameter.get("a")["b"], opts=opts)
policy = aws.s3.get_bucket_policy_output(bucket="acme-data").policy
merged = aws.iam.get_policy_document_output(source_policy_documents=[policy], statements=[{
    "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::acme-data/*"],
    "principals": [{"type": "*", "identifiers": ["*"]}]}])
aws.s3.BucketPolicy("merged", bucket="acme-data", policy=merged.json, opts=opts)
aws.sns.Topic("before", opts=opts)
"""


def test_parsed_secrets_and_documents_are_unknown(tmp_path: Path) -> None:
    result = _check(tmp_path, HEAD + SECRETS)
    found = {(each.rule, each.urn.rpartition("::")[2], each.outcome) for each in result.findings}
    assert ("GH-SSM-001", "a", "undecided") in found
    # The statement of the program is judged beside the invented one.
    assert ("GH-S3-012", "merged", "violation") in found
    assert result.run.stopped == ""


LOOKUP = """
import decimal, enum
value = aws.ssm.get_parameter(name="/shop/x").value
vpc = aws.ec2.get_vpc(default=True)
database = aws.rds.get_instance(db_instance_identifier="x")
"""
# Decisions by a result: another value leads to other resources.
DECISIONS = [
    *('value == "a"', '"a" != value', 'value in ("a", "b")', 'value in {"a"}', '"a" in value'),
    *('value or "a"', "not value", 'value.startswith("a")', "value.isdigit()", 'value < "a"'),
    *('{"a": 1}.get(value)', "sorted([value, 'a'])", 'json.loads(value).get("a") == "b"'),
    *("len(vpc.cidr_block_associations) > 1", '"a" in vpc.tags', "not vpc.enable_dns_support"),
    *("database.port == 5432", "database.multi_az or 1", "vpc.cidr_block_associations == []"),
    'aws.ec2.get_vpc_output(default=True).apply(lambda found: found.cidr_block == "10.0.0.0/8")',
]
# Texts, numbers, lists and maps that the program derives.
DERIVED = [
    *("value[:4]", "value[-4:]", 'value.split("-")[0]', 'value.partition("-")[0]', "value.upper()"),
    *('f"a-{value[:3]}"', '"%s" % value[:3]', '"-".join([value[:2], "b"])', '"a" + value[:3]'),
    *(
        "max(value, '')[:3]",
        're.search(r"(\\w+)$", value).group(1)',
        "value[0][0]",
        "list(value)[0]",
    ),
    *('value.replace("fakeoutput", "")', "value.strip('fakeoutput')", "value.format()"),
    *('json.loads(value)["a"]["b"]', "list(json.loads(value))[0]", 'json.loads(value)[0]["a"]'),
    *("list(json.loads(value).values())[0][:2]", 'yaml.safe_load(value)["a"]', 'vpc.tags["a"][:3]'),
    *("str(database.port + 1)", 'f"{database.port}"', "json.dumps(database.port)[1:]"),
    *("base64.b64encode(value[:9].encode()).decode()", "vpc.cidr_block_associations[0].cidr_block"),
]
# Code that needs the value.
NEEDING = [
    *("int(value)", "float(value)", "range(value)", "decimal.Decimal(value)", "[1][value]"),
    *('{"a": 1}[value]', "value.absent", "value()", "1 + value", 'json.loads(value)["a"].pop()'),
    *('enum.Enum("Mode", {"A": "a"})(value)', 're.match("x", value).group()', "exit(value)"),
]


def test_decision_on_a_result_is_undecided(tmp_path: Path) -> None:
    lines = len(f"{HEAD}{LOOKUP}".splitlines())
    result = _check(tmp_path, HEAD + "import yaml" + LOOKUP + "\n".join(DECISIONS))
    assert result.run.stopped == ""
    decided = " ".join(each.message for each in result.findings if "another value" in each.message)
    found = {int(number) - lines for number in re.findall(r"__main__.py:(\d+)", decided)}
    assert [code for n, code in enumerate(DECISIONS, 1) if n not in found] == []


def test_derived_values_are_unknown(tmp_path: Path) -> None:
    uses = (
        f'aws.ssm.Parameter("d{number}", type="String", value={code}, opts=opts)'
        for number, code in enumerate(DERIVED)
    )
    flags = """
aws.rds.Instance("db", instance_class="x", storage_encrypted=database.storage_encrypted, opts=opts,
    backup_retention_period=database.backup_retention_period, tags={**vpc.tags, "a": "b"})
"""
    result = _check(tmp_path, HEAD + "import yaml" + LOOKUP + "\n".join(uses) + flags)
    assert result.run.stopped == ""
    found = {(each.rule, each.urn.rpartition("::")[2], each.outcome) for each in result.findings}
    undecided = {name for rule, name, outcome in found if outcome == "undecided"}
    assert [code for n, code in enumerate(DERIVED) if f"d{n}" not in undecided] == []
    for rule in ("GH-RDS-002", "GH-RDS-003"):
        assert (rule, "db", "undecided") in found


@pytest.mark.parametrize("code", NEEDING)
def test_program_that_stops_is_evaluated_up_to_there(tmp_path: Path, code: str) -> None:
    before = f'{HEAD}{LOOKUP}aws.sns.Topic("before", opts=opts)\n'
    result = _check(tmp_path, f'{before}{code}\naws.sns.Topic("after", opts=opts)\n')
    line = len(before.splitlines()) + 1
    [stopped] = [each for each in result.findings if "the program stopped" in each.message]
    assert (stopped.outcome, stopped.source) == ("undecided", f"__main__.py:{line}")
    assert "aws.ssm.get_parameter" in stopped.message
    assert "[[lookups]]" in stopped.remedy
    assert {"before"} == {
        each.urn.rpartition("::")[2] for each in result.findings if "sns/topic:" in each.urn
    }
    assert (result.exit_code, json.dumps(result.run.stopped)[:13]) == (1, '"__main__.py:')


def test_network_of_a_lookup_is_undecided(tmp_path: Path) -> None:
    policy = """
aws.s3.BucketPolicy("p", bucket="acme-data", opts=opts,
    policy=json.dumps(document("aws:SourceVpc", vpc.id)))
"""
    result = _check(tmp_path, HEAD + LOOKUP + policy)
    found = {each.rule: each.outcome for each in result.findings if each.urn.endswith("::p")}
    assert {found["GH-IAM-011"], found["GH-S3-012"]} == {"undecided"}


def test_results_of_lookups_can_be_supplied(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text("""
[[lookups]]
function = "aws.ssm.get_parameter"
arguments = { name = "/shop/x" }
result = { value = "42" }
""")
    loaded = configuration.read(tmp_path / "policies.toml")
    text = f'{HEAD}{LOOKUP}assert int(value) == 42 and value == "42"\naws.sns.Topic("after")\n'
    result = _check(tmp_path, text, loaded)
    assert result.run.stopped == ""
    assert "another value" not in str(result.findings)


def test_unknown_configuration_is_not_compared(tmp_path: Path) -> None:
    code = 'mode = pulumi.Config().require("mode")\nif mode == "a":\n    pass\n'
    secure = "config:\n  aws:region: eu-west-1\n  shop:mode:\n    secure: AAABAKb1x5Y3\n"
    result = _check(tmp_path, HEAD + code, config=secure)
    assert "compares the configuration value shop:mode ([stack_config]" in str(result.findings)
    with pytest.raises(CommandError, match=r"configuration value shop:mode \(\[stack_config\]"):
        _check(tmp_path, f"{HEAD}{code}int(mode)\n", config=secure)
