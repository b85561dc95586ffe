"""An exported stack is checked like its program."""

from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.processes import messages
from hypothesis import given
from hypothesis import strategies as st
from pulumi_local.errors import CommandError
from pulumi_local.files import stack_import

from tests.pulumi_local.files.test_stack_import import SECRET, STACK, URN, bucket, exported

MEMBERS = (
    *("urn", "type", "custom", "id", "parent", "inputs", "outputs", "dependencies"),
    *("propertyDependencies", "provider", "protect", "delete", "sourcePosition"),
    *("additionalSecretOutputs", "ignoreChanges", "plaintext", *SECRET),
)


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


def test_input_that_the_outputs_lack_is_evaluated(tmp_path: Path) -> None:
    text = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
    policy = {
        "urn": f"{URN}aws:iam/policy:Policy::all",
        "type": "aws:iam/policy:Policy",
        "custom": True,
        "inputs": {"policy": text},
        "outputs": {"path": "/"},
    }
    result = policy_check.check_state(exported(tmp_path, policy), levels="prod")
    found = {one.rule for one in result.findings if one.urn == policy["urn"]}
    assert "GH-IAM-001" in found
    assert not [one for one in result.findings if "must be an object" in one.message]


def test_stack_with_another_name_has_the_levels_of_prod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = exported(tmp_path, bucket()).read_text().replace("urn:pulumi:dev::", "urn:pulumi:live::")
    (tmp_path / "live.json").write_text(text)
    options = ["--home", str(tmp_path), "check", "--state", str(tmp_path / "live.json")]
    assert main(options) == 1
    assert "prod: " in capsys.readouterr().out


def test_invalid_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "state.json"
    file.write_text("[]")
    assert main(["--home", str(tmp_path), "check", "--state", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {file} is not an exported stack (")


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
    except CommandError as problem:
        error = problem.message
    assert error.startswith(str(file)) if error else stack
