"""An exported stack is read as the deployment of its program."""

import json
from pathlib import Path
from typing import Any

import pytest
from pulumi_local.errors import CommandError
from pulumi_local.files import stack_import
from pulumi_local.types import UNKNOWN

from pulumi_local import values

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
URN = "urn:pulumi:dev::shop::"
STACK = {
    "urn": f"{URN}pulumi:pulumi:Stack::shop-dev",
    "type": "pulumi:pulumi:Stack",
    "outputs": {"open": True},
}


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
def test_invalid_file_is_rejected(text: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError) as caught:
        stack_import.read(file)
    assert caught.value.message.startswith(f"{file} is not an exported stack (")
    assert caught.value.message.endswith("Create one with: pulumi stack export --file FILE")


def test_resources_of_several_stacks_are_rejected(tmp_path: Path) -> None:
    file = exported(tmp_path, bucket(urn="urn:pulumi:prod::shop::a::b"))
    with pytest.raises(CommandError, match="is not an exported stack"):
        stack_import.read(file)
