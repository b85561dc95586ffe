"""An exported stack is judged like the program that made it; a file that is not one gets one message."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.__main__ import main
from sandbox.checks import policy_check
from sandbox.engine import messages, stack_import
from sandbox.engine.stack_export import export
from sandbox.engine.types import UNKNOWN
from sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[3]
FAMILY = Path(__file__).parents[1] / "programs" / "family"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
URN = "urn:pulumi:dev::shop::"
STACK = {"urn": f"{URN}pulumi:pulumi:Stack::shop-dev", "type": "pulumi:pulumi:Stack", "outputs": {"open": True}}


MEMBERS = (
    *("urn", "type", "custom", "id", "parent", "inputs", "outputs", "dependencies", "propertyDependencies", "provider"),
    *("protect", "delete", "sourcePosition", "additionalSecretOutputs", "ignoreChanges", "plaintext", next(iter(SECRET))),
)


def bucket(**more: Any) -> dict[str, Any]:
    row = {"urn": f"{URN}aws:s3/bucket:Bucket::data", "type": "aws:s3/bucket:Bucket", "custom": True, "id": "data"}
    return {**row, "parent": STACK["urn"], **more}


def topic(**inputs: Any) -> dict[str, Any]:
    return {"urn": f"{URN}aws:sns/topic:Topic::bell", "type": "aws:sns/topic:Topic", "custom": True, "inputs": inputs}


def exported(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    file = tmp_path / "state.json"
    document = {"version": 3, "deployment": {"manifest": {}, "resources": [STACK, *rows]}, **more}
    file.write_text(json.dumps(document))
    return file


def test_our_own_export_reads_back_as_the_deployment(tmp_path: Path) -> None:
    file = tmp_path / "family.json"
    file.write_text(export(FAMILY, "dev"))
    project, deployment = stack_import.read(file)
    assert (project.name, project.stack, deployment.exports["bucket"]) == ("family", "dev", "cellar-of-the-house")
    found = {
        resource.registration.name: resource for resource in deployment.resources if "bucketPolicy" in resource.registration.type
    }
    policy = found["cellar"].registration
    cellar = "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar"
    assert policy.parent == f"{cellar}::cellar"
    assert policy.property_dependencies["bucket"] == (f"{cellar}$aws:s3/bucket:Bucket::cellar",)
    assert policy.source == "parts.py:15"


@pytest.mark.requirement("PP-02")
def test_a_leaky_stack_is_judged_like_the_program_that_made_it(tmp_path: Path) -> None:
    program, file = ROOT / "examples" / "leaky", tmp_path / "leaky.json"
    file.write_text(export(program, "dev"))
    of_state = policy_check.check_state(file, levels="prod")
    of_program = policy_check.check(program, "dev", levels="prod", passes=("known",))
    assert of_state.exit_code == 1
    told = [{(one.rule, one.urn, one.message, one.source) for one in checked.findings} for checked in (of_state, of_program)]
    # A password that the file keeps encrypted is the one thing that a state cannot show.
    assert {one for one in told[0] ^ told[1] if "RDS-012" not in one[0]} == set()


def test_a_join_by_property_dependencies_holds_without_ids(tmp_path: Path) -> None:
    fence = {
        "urn": f"{URN}aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock::data",
        "type": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "custom": True,
        "inputs": dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True),
        "dependencies": [bucket()["urn"]],
        "propertyDependencies": {"bucket": [bucket()["urn"]]},
    }
    rules = [
        {one.rule for one in policy_check.check_state(exported(tmp_path, *rows)).findings}
        for rows in ((bucket(),), (bucket(), fence))
    ]
    assert ["GH-S3-001" in found for found in rules] == [True, False]


def test_the_engines_own_forms_become_plain_values(tmp_path: Path) -> None:
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


def test_a_secret_that_stays_encrypted_is_undecided_and_never_passed(tmp_path: Path) -> None:
    policy = {
        "urn": f"{URN}aws:iam/rolePolicy:RolePolicy::all",
        "type": "aws:iam/rolePolicy:RolePolicy",
        "custom": True,
        "inputs": {"role": "r", "policy": {**SECRET, "ciphertext": "v1:aaaa"}},
        "outputs": {"role": "r", "policy": {**SECRET, "ciphertext": "v1:aaaa"}},
    }
    checked = policy_check.check_state(exported(tmp_path, policy), levels="prod")
    outcomes = {one.outcome for one in checked.findings if one.rule == "GH-IAM-001"}
    assert (outcomes, checked.exit_code) == ({"undecided"}, 1)


def test_a_resource_that_only_waits_for_its_deletion_is_not_judged(tmp_path: Path) -> None:
    old = bucket(urn=f"{URN}aws:s3/bucket:Bucket::old", delete=True)
    file = exported(tmp_path, old, bucket(dependencies=[old["urn"]]))
    [resource] = stack_import.read(file)[1].resources
    assert (resource.registration.name, resource.registration.dependencies) == ("data", ())


def test_what_a_local_backend_keeps_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "dev.json"
    file.write_text(json.dumps({"version": 3, "checkpoint": {"stack": "dev", "latest": {"resources": [STACK, bucket()]}}}))
    assert [one.registration.name for one in stack_import.read(file)[1].resources] == ["data"]


def test_a_line_of_the_engine_keeps_file_and_line(tmp_path: Path) -> None:
    file = exported(tmp_path, bucket(sourcePosition="project:///parts/store.py#12,8"))
    assert stack_import.read(file)[1].resources[0].registration.source == "parts/store.py:12"


HOW = "Write one with: pulumi stack export --file FILE"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"is not JSON (JSONDecodeError). {HOW}"),
        ("\xff\xfe", f"is not JSON (UnicodeDecodeError). {HOW}"),
        ("[" * 100_000, f"is not JSON (RecursionError). {HOW}"),
        ('{"a": "\\ud800"}', f"is not JSON (UnicodeEncodeError). {HOW}"),
        ("[]", f'is not an exported stack: it has no "deployment". {HOW}'),
        ('{"version": 3, "resources": []}', f'is not an exported stack: it has no "deployment". {HOW}'),
        ('{"version": 1, "deployment": {}}', f": version 1 is not known, only 3 and 4. {HOW}"),
        ('{"version": 3, "deployment": 7}', f': "resources" is not a list of resources. {HOW}'),
        ('{"version": 3, "deployment": {"resources": [1]}}', f': "resources" is not a list of resources. {HOW}'),
        ('{"version": 3, "deployment": {"resources": [{"urn": "x"}]}}', f": resource 1 has no URN or no type. {HOW}"),
        ('{"version": 3, "deployment": {}}', ": the stack holds no resources, so there is nothing to check. Deploy it first."),
    ],
)
def test_a_file_that_is_no_stack_gets_one_message(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(text.encode("latin-1"))
    assert main(["--home", str(tmp_path), "check", "--state", str(file)]) == 2
    joined = "" if said.startswith(":") else " "
    assert capsys.readouterr().err == f"error: {file}{joined}{said}\n"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([bucket(), bucket()], "is in it twice. Mend the stack with: pulumi state repair"),
        ([bucket(dependencies=["urn:x"])], "leans on urn:x, which is not in it. Mend the stack with: pulumi state repair"),
        ([bucket(dependencies="urn:x")], f"dependencies is not a list. {HOW}"),
        ([bucket(propertyDependencies=[1])], f"propertyDependencies is not an object. {HOW}"),
        ([bucket(propertyDependencies={"bucket": [1]})], f"propertyDependencies does not list text. {HOW}"),
        ([bucket(inputs=[1])], f"inputs is not an object. {HOW}"),
        ([bucket(urn="urn:pulumi:prod::shop::a::b")], f"resources of several stacks are in one file. {HOW}"),
    ],
)
def test_a_stack_that_does_not_hold_together_is_refused(rows: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    file = exported(tmp_path, *rows)
    with pytest.raises(SandboxError) as refused:
        stack_import.read(file)
    assert refused.value.message.endswith(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a:.$/#", max_size=5) | st.sampled_from([STACK["urn"], bucket()["urn"]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=6,
)


@given(row=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8))
def test_whatever_a_resource_holds_it_is_read_or_refused_with_one_message(
    row: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = exported(tmp_path_factory.getbasetemp(), {**bucket(), **row})
    refused = ""
    try:
        shown = messages.stack_request(stack_import.read(file)[1]).resources
    except SandboxError as problem:
        refused = problem.message
    assert refused.startswith(str(file)) if refused else shown


def test_a_stack_of_another_name_needs_to_say_whose_levels_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = exported(tmp_path, bucket()).read_text().replace("urn:pulumi:dev::", "urn:pulumi:live::")
    (tmp_path / "live.json").write_text(text)
    options = ["--home", str(tmp_path), "check", "--state", str(tmp_path / "live.json")]
    assert main(options) == 2
    assert "has no levels for 'live'. Known: dev, prod, staging. Choose one: --levels NAME" in capsys.readouterr().err
    assert main([*options, "--env", "prod", "--format", "json"]) == 1


def test_a_file_that_is_not_there_could_not_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path), "check", "--state", str(tmp_path / "no.json")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'no.json'} cannot be read: No such file or directory. {HOW}\n"
