"""Catalogue."""

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi_aws
import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.secret_detection import ENVIRONMENT, is_secret_input
from gatehouse_policies.catalogue import PACKS, RULES, of_pack
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.requirements import SECRET_BLOCKS
from gatehouse_policies.engine.rule import ENVIRONMENTS, Level, resource_rule
from gatehouse_policies.rules.security.secretsmanager import ENVIRONMENT_BLOCKS
from google.protobuf import empty_pb2
from pulumi_aws import iam
from pulumi_local.lists import name_set
from pulumi_local.schema import schema
from pulumi_local.type_tokens import STACK, aws

from tests.policies.pack_process import Pack
from tests.policies.provider_inputs import classes, modules


def test_critical_controls_are_mandatory_everywhere() -> None:
    rules = [rule for rule in RULES if rule.severity == "critical"]

    assert len(rules) > 20
    assert {rule.level(name) for rule in rules for name in ENVIRONMENTS} == {Level.MANDATORY}


@pytest.mark.parametrize("pack", PACKS)
def test_pack_contains_its_rules_and_meta_policies(
    pack: str, request: pytest.FixtureRequest
) -> None:
    loaded: Pack = request.getfixturevalue(pack)

    info = loaded.call("GetAnalyzerInfo", empty_pb2.Empty())
    assert info.name == PACKS[pack]
    ids = {rule.id for rule in of_pack(pack)} | {policy.id for policy in META_POLICIES}
    assert {policy.name for policy in info.policies} == ids


def test_every_rule_has_its_own_id_and_is_in_one_pack() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids) > 100
    assert sorted(rule.id for pack in PACKS for rule in of_pack(pack)) == ids


def test_control_that_is_not_in_the_first_version_has_a_date() -> None:
    first = (Path(__file__).parent / "first_controls.txt").read_text().split()
    dated = {rule.id for rule in RULES if rule.introduced}
    assert dated == {rule.id for rule in RULES} - set(first), "set introduced in the declaration"


FOR_EVERY_TYPE = name_set(
    "GH-IAM-002 GH-IAM-007 GH-IAM-010 GH-IAM-011 GH-IAM-013 GH-PUL-003 GH-PUL-006 GH-PUL-008 "
    "GH-PUL-009 GH-PUL-010 GH-PUL-011 GH-PUL-012 GH-PUL-013 GH-PUL-014 GH-SM-008 GH-SM-009"
)


def test_metadata_is_complete() -> None:
    incomplete = [
        rule.id
        for rule in RULES
        if not rule.title
        or not rule.remedy
        or rule.remedy.endswith(".")
        or not rule.url.startswith("https://")
        or not (rule.types or rule.id in FOR_EVERY_TYPE)
    ]

    assert incomplete == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("levels", "M"), ("levels", "MMMM"), ("levels", "XMM"), ("severity", "HIGH"), ("pack", "sec")],
)
def test_invalid_metadata_is_rejected(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"GH-S3-001: {name} must be"):
        replace(RULES[0], id="GH-S3-001", **{name: value})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"id": "X-1"}, "X-1: title is missing; a control of this distribution has it in controls"),
        (
            {"id": "GH-S3-001", "severity": "low"},
            "GH-S3-001: remove severity, which is in controls",
        ),
        ({"id": "GH-S3-001", "pack": "resilience"}, "GH-S3-001: remove pack, which is in controls"),
    ],
    ids=["neither", "severity twice", "pack twice"],
)
def test_metadata_stands_once(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resource_rule(**metadata, types=())(lambda resource: iter(()))


def test_resource_rule_cannot_read_the_outputs_of_the_stack() -> None:
    with pytest.raises(ValueError, match="only a stack rule"):
        resource_rule("A-1", title="A", types=(STACK,), url="https://example.com")


def test_levels_do_not_decrease_towards_prod() -> None:
    strength = {"disabled": 0, "advisory": 1, "mandatory": 2}
    levels = {rule.id: [strength[rule.level(name)] for name in ENVIRONMENTS] for rule in RULES}

    assert [id for id, strengths in levels.items() if strengths != sorted(strengths)] == []


def test_every_property_of_iam_that_names_users_has_a_rule() -> None:
    names = {"user", "userName", "username", "users"}
    tokens = {
        token
        for name in dir(iam)
        for token in aws(f"iam.{name}")
        if (found := schema(token)) and (found.inputs & names or name == "User")
    }
    assert set(catalogue.rule("GH-IAM-006").types) == tokens


def containing(module: list[tuple[str, str, str]], matches: Callable[[str, str], bool]) -> set[str]:
    found = {owner for owner, name, hint in module if matches(name, hint)}
    while more := {owner for owner, _, hint in module if classes(hint) & found} - found:
        found |= more
    return found


def types_with(inputs: str, *, nested: bool = False) -> set[str]:
    def matches(name: str, hint: str) -> bool:
        return re.fullmatch(inputs, name) is not None

    owners = (
        containing(module, matches) if nested else {o for o, n, h in module if matches(n, h)}
        for module in modules()
    )
    tokens = {owner for each in owners for owner in each if ":" in owner}
    assert tokens
    return tokens


def test_every_type_that_runs_tasks_of_ecs_has_rules() -> None:
    names = "assignPublicIp|enableExecuteCommand"
    assert types_with(names, nested=True) == set(catalogue.rule("GH-ECS-010").types)
    assert types_with("containerDefinitions") == set(catalogue.rule("GH-ECS-002").types)


def test_every_property_with_user_data_has_a_rule() -> None:
    assert types_with(r"userData\w*") <= set(catalogue.rule("GH-EC2-005").types)


UPSTREAM_FORMATS = {
    "Security Hub": r"[A-Za-z]\w*\.\d+",
    "CIS AWS Foundations": r"CIS \d+(\.\d+)+",
    "Checkov": r"CKV2?_AWS_\d+",
    "cdk-nag": r"[A-Z]+\d+",
}


def test_upstream_ids_have_the_format_of_a_catalogue() -> None:
    ids = [id for rule in RULES for id in rule.upstream_ids()]

    assert len(ids) > 300
    formats = "|".join(UPSTREAM_FORMATS.values())
    assert [id for id in ids if not re.fullmatch(formats, id)] == []


def class_names(function: str, arguments: list[ast.expr]) -> Iterable[ast.expr | None]:
    match function, arguments:
        case "aws", _:
            return arguments
        case "by_token", [ast.Dict(keys=keys)]:
            return keys
        case "has_resource", [first, *_]:
            return [first]
    return []


def test_type_tokens_exist_in_pulumi_aws() -> None:
    classes = {
        name.value
        for file in catalogue.PACKS_FOLDER.parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for name in class_names(node.func.id, node.args)
        if isinstance(name, ast.Constant)
    }
    tokens = {*aws(*classes), *(type_ for rule in RULES for type_ in rule.types)}
    tokens = {token for token in tokens if token.startswith("aws:")}
    package = Path(pulumi_aws.__file__).parent
    services = {token.split(":")[1].split("/")[0] for token in tokens}
    names = {"lambda": "lambda_", "index": ""}
    folders = [package / names.get(service, service) for service in services]
    known = {
        token
        for folder in folders
        for file in folder.glob("*.py")
        for token in re.findall(r"aws:\w+/\w+:\w+", file.read_text())
    }

    assert len(tokens) > 100
    assert tokens - known == set()


# Secret inputs of pulumi-aws that hold no secret of an application, or have rules of their own.
NO_SECRETS = name_set(
    "adminUsername bundleId caCertificatePem caPem certificate certificateChain certificatePem "
    "certificateWallet clientId content environmentVariables key keyMaterialBase64 "
    "kmsEncryptionContext kmsKeyId notes platformPrincipal postAuthenticationLoginBanner "
    "preAuthenticationLoginBanner publicKey schema secretBinary teamId tokenKeyId "
    "tokenSigningPublicKeys value valueWo verificationCertificatePem"
)
# Blocks with the names of texts in other types; and durations.
AMBIGUOUS = {"certificate", "credential", "credentials", "tokenValidityUnits"}
QUALIFIED = {
    *("AppAuthorization.credential", "DataSource.credentials", "tls.certificate"),
    "VoiceConnectorTerminationCredentials.credentials",
}
# Maps whose keys are those of other products.
MAPS = {"connectorConfiguration", "credentialsMap", "providerDetails"}
# Texts and options with environments, and inputs with other environments and variables.
OPTIONS = name_set(
    "buildSpec buildspec containerProperties definition ecsProperties input nodeProperties settings"
)
OTHER_VARIABLES = name_set(
    "agentcoreRuntimeEnvironments createEnvironment hostingEnvironments inputVariables "
    "policyVariables ruleVariables"
)


def is_secret(name: str, hint: str) -> bool:
    return is_secret_input(name) and "builtins.str" in hint


def is_environment(name: str, hint: str) -> bool:
    return (
        re.search(r"Mapping|\w+Args", hint) is not None and ENVIRONMENT.fullmatch(name) is not None
    )


def test_every_secret_and_environment_of_pulumi_aws_has_a_rule() -> None:
    blocks = {is_secret: set[str](), is_environment: set[str]()}
    for module in modules():
        for matches, names in blocks.items():
            found = containing(module, matches)
            names |= {name for _, name, hint in module if classes(hint) & found}
    files = Path(pulumi_aws.__file__).parent.glob("*/*.py")
    marked = re.findall(
        r"additional_secret_outputs=\[(.*?)\]", "".join(file.read_text() for file in files)
    )
    inputs = {(name, hint) for module in modules() for _, name, hint in module}
    hidden = set(re.findall(r"\w+", " ".join(marked))) & {name for name, _ in inputs}
    assert len(hidden) > 50
    secret = {name for name in hidden - NO_SECRETS | blocks[is_secret] if not is_secret_input(name)}
    assert secret - AMBIGUOUS | QUALIFIED | MAPS == SECRET_BLOCKS
    nested = {name for name in blocks[is_environment] if not ENVIRONMENT.fullmatch(name)}
    assert nested | OPTIONS == ENVIRONMENT_BLOCKS
    variables = {name for name, hint in inputs if re.search(r"Mapping|\w+Args", hint)}
    variables = {name for name in variables if re.search("(nvironment|ariable)s?$", name)}
    assert {name for name in variables if not ENVIRONMENT.fullmatch(name)} == OTHER_VARIABLES
