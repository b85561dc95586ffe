"""An exported stack is checked like its program."""

import json
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program import values
from gatehouse_policies.program.files import stack_import
from gatehouse_policies.program.packs import messages
from gatehouse_policies.program.types import UNKNOWN
from hypothesis import given
from hypothesis import strategies as st

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
URN = "urn:pulumi:dev::shop::"
STACK = {
    "urn": f"{URN}pulumi:pulumi:Stack::shop-dev",
    "type": "pulumi:pulumi:Stack",
    "outputs": {"open": True},
}


MEMBERS = (
    *("urn", "type", "custom", "id", "parent", "inputs", "outputs", "dependencies"),
    *("propertyDependencies", "provider", "protect", "delete", "sourcePosition"),
    *("additionalSecretOutputs", "ignoreChanges", "plaintext", *SECRET),
)


def bucket(**more: Any) -> dict[str, Any]:
    row = {
        "urn": f"{URN}aws:s3/bucket:Bucket::data",
        "type": "aws:s3/bucket:Bucket",
        "custom": True,
        "id": "data",
    }
    return {**row, "parent": STACK["urn"], **more}


def topic(**inputs: Any) -> dict[str, Any]:
    return {
        "urn": f"{URN}aws:sns/topic:Topic::alerts",
        "type": "aws:sns/topic:Topic",
        "custom": True,
        "inputs": inputs,
    }


def exported(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    file = tmp_path / "state.json"
    document = {"version": 3, "deployment": {"manifest": {}, "resources": [STACK, *rows]}, **more}
    file.write_text(json.dumps(document))
    return file


def test_property_dependencies_are_used_without_ids(tmp_path: Path) -> None:
    block = {
        "urn": f"{URN}aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock::data",
        "type": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "custom": True,
        "inputs": dict.fromkeys(
            ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"),
            True,
        ),
        "dependencies": [bucket()["urn"]],
        "propertyDependencies": {"bucket": [bucket()["urn"]]},
    }
    bare = bucket(urn=f"{URN}aws:s3/bucket:Bucket::bare")
    file = exported(tmp_path, bucket(), bare, block)
    findings = policy_check.check_state(file, folders=policy_check.PACKS[:1]).findings
    assert {one.urn for one in findings if one.rule == "GH-S3-001"} == {bare["urn"]}


def test_engine_values_are_decoded(tmp_path: Path) -> None:
    lost = {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "hash": "0"}
    inputs = {
        "name": {**SECRET, "ciphertext": "v1:aaaa"},
        "policy": {**SECRET, "plaintext": '{"a": "b"}'},
        "hidden": {**SECRET, "plaintext": '"[secret]"'},
        "tags": {"a": "b", "__defaults": []},
        "source": lost,
        "__meta": "{}",
        "none": None,
    }
    _, deployment = stack_import.read(exported(tmp_path, topic(**inputs)))
    registration = deployment.resources[0].registration
    assert registration.inputs == {
        "name": UNKNOWN,
        "policy": {"a": "b"},
        "hidden": UNKNOWN,
        "tags": {"a": "b"},
        "source": UNKNOWN,
    }
    assert registration.secret_inputs == ("name", "policy", "hidden")


def test_encrypted_secret_is_undecided(tmp_path: Path) -> None:
    policy = {
        "urn": f"{URN}aws:iam/rolePolicy:RolePolicy::all",
        "type": "aws:iam/rolePolicy:RolePolicy",
        "custom": True,
        "inputs": {"role": "r", "policy": {**SECRET, "ciphertext": "v1:aaaa"}},
        "outputs": {"role": "r", "policy": {**SECRET, "ciphertext": "v1:aaaa"}},
    }
    result = policy_check.check_state(exported(tmp_path, policy), levels="prod")
    outcomes = {one.outcome for one in result.findings if one.rule == "GH-IAM-001"}
    assert (outcomes, result.exit_code) == ({"undecided"}, 0)


def test_resource_pending_deletion_is_omitted(tmp_path: Path) -> None:
    old = bucket(urn=f"{URN}aws:s3/bucket:Bucket::old", delete=True)
    file = exported(tmp_path, old, bucket(dependencies=[old["urn"]]))
    [resource] = stack_import.read(file)[1].resources
    assert (resource.registration.name, resource.registration.dependencies) == ("data", ())


def test_source_position_is_read(tmp_path: Path) -> None:
    file = exported(tmp_path, bucket(sourcePosition="project:///parts/store.py#12,8"))
    assert stack_import.read(file)[1].resources[0].registration.source == "parts/store.py:12"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\xff\xfe",
        "[" * 100_000,
        '{"a": "\\ud800"}',
        "[]",
        '{"version": 3, "resources": []}',
        '{"version": 1, "deployment": {"resources": []}}',
        '{"version": 3, "deployment": 7}',
        '{"version": 3, "deployment": {"resources": [1]}}',
        '{"version": 3, "deployment": {"resources": [{"urn": "x"}]}}',
        '{"version": 3, "deployment": {"resources": []}}',
        '{"version": 3, "deployment": {"resources": [{"urn": ":../a::b::c::d", "type": ""}]}}',
        *(
            '{"version": 3, "deployment": {"resources": [{"urn": "urn:pulumi:a::b::c::d", '
            f'"type": "{type_}", "outputs": {{"{values.SIGNATURE}": false}}}}]}}}}'
            for type_ in ("aws:s3/bucket:Bucket", "pulumi:pulumi:Stack")
        ),
    ],
)
def test_invalid_file_is_rejected(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(text.encode("latin-1"))
    assert main(["--home", str(tmp_path), "check", "--state", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file} is not an exported stack (")
    assert error.endswith("Create one with: pulumi stack export --file FILE\n")


def test_resources_of_several_stacks_are_rejected(tmp_path: Path) -> None:
    file = exported(tmp_path, bucket(urn="urn:pulumi:prod::shop::a::b"))
    with pytest.raises(CheckError, match="is not an exported stack"):
        stack_import.read(file)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text("a:.$/#", max_size=5)
    | st.sampled_from([STACK["urn"], bucket()["urn"]]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(row=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8))
def test_any_resource_is_read_or_rejected(
    row: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = exported(tmp_path_factory.getbasetemp(), {**bucket(), **row})
    error = ""
    try:
        stack = messages.Messages.of(stack_import.read(file)[1]).stack
    except CheckError as problem:
        error = problem.message
    assert error.startswith(str(file)) if error else stack


def test_stack_with_another_name_has_the_levels_of_prod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = exported(tmp_path, bucket()).read_text().replace("urn:pulumi:dev::", "urn:pulumi:live::")
    (tmp_path / "live.json").write_text(text)
    options = ["--home", str(tmp_path), "check", "--state", str(tmp_path / "live.json")]
    assert main(options) == 1
    assert "prod: " in capsys.readouterr().out
