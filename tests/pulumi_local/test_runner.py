"""The engine runs a program like Pulumi; errors have file and line."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_local.errors import CommandError
from pulumi_local.outputs.providers import FakeProvider, PreviewProvider, ProviderConfigs
from pulumi_local.runner import run
from pulumi_local.types import ACCOUNT, UNKNOWN, Deployment, Provider, Registration, Resource

from tests.cases import cases

_CASES = cases(__file__)

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM = PROGRAMS / "nested_components"

STORAGE = "urn:pulumi:dev::shop::demo:parts:Application$demo:parts:Storage"
BUCKET = f"{STORAGE}$aws:s3/bucket:Bucket::storage"
TOPIC = "urn:pulumi:dev::shop::aws:sns/topic:Topic::alerts"
POLICY = f"{STORAGE}$aws:s3/bucketPolicy:BucketPolicy::storage"

DEFAULT_PROVIDER = f"pulumi:providers:aws::default_{version('pulumi-aws').replace('.', '_')}"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a program: code, lines of the stack file, and other files."""

    def write_program(
        code: str, config: str = "", project: str = "name: tiny\nruntime: python\n", **files: str
    ) -> Path:
        head = "import pulumi\nimport pulumi_aws as aws\n"
        texts = {
            "Pulumi.yaml": project,
            "Pulumi.dev.yaml": f"config:\n{config}" if config else "",
            **files,
        }
        for name, text in {"__main__.py": head + code, **texts}.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write_program


def deployed(program: Path = PROGRAM) -> Deployment:
    return run(program, "dev", FakeProvider(), preview=False)


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return deployed()


def resource(deployment: Deployment, urn: str) -> Resource:
    return next(item for item in deployment.resources if item.registration.urn == urn)


def failure(program: Path, stack: str = "dev", provider: Provider | None = None) -> str:
    with pytest.raises(CommandError) as caught:
        run(program, stack, provider or FakeProvider(), preview=False)
    return caught.value.message


def test_urn_has_the_types_of_all_parents(deployment: Deployment) -> None:
    urns = [item.registration.urn for item in deployment.resources]
    assert sorted(urns) == sorted(
        [
            "urn:pulumi:dev::shop::demo:parts:Application::application",
            f"{STORAGE}::storage",
            f"urn:pulumi:dev::shop::{DEFAULT_PROVIDER}",
            BUCKET,
            TOPIC,
            POLICY,
        ]
    )
    assert urns.index(BUCKET) < urns.index(POLICY), "a resource is after its dependencies"


def test_exports(deployment: Deployment) -> None:
    assert deployment.exports == {
        "bucket": "application-data",
        "topic": {"arn": "arn:aws:sns:eu-west-1:123456789012:alerts", "zones": ["a", "b"]},
        "organization": "organization",
    }


def test_registration_has_its_source_line(deployment: Deployment) -> None:
    assert {item.registration.name: item.registration.source for item in deployment.resources} == {
        "application": "__main__.py:8",
        DEFAULT_PROVIDER.rpartition("::")[2]: "",
        "alerts": "__main__.py:10",
        "storage": "parts.py:15",
    }


def test_registration_has_parent_and_dependencies(deployment: Deployment) -> None:
    policy = resource(deployment, POLICY).registration
    assert policy.parent == f"{STORAGE}::storage"
    assert policy.property_dependencies == {"bucket": (BUCKET,), "policy": (BUCKET,)}
    assert resource(deployment, TOPIC).registration.protect is True


def test_preview_keeps_dependent_values_unknown() -> None:
    deployment = run(PROGRAM, "dev", PreviewProvider(), preview=True)
    policy = resource(deployment, POLICY).registration
    assert policy.inputs == {"bucket": UNKNOWN, "policy": UNKNOWN}
    assert policy.property_dependencies == {"bucket": (BUCKET,), "policy": (BUCKET,)}
    assert deployment.exports["bucket"] == "application-data"
    assert deployment.exports["topic"] == {"arn": UNKNOWN, "zones": ["a", "b"]}
    outputs = resource(deployment, BUCKET).outputs
    assert (outputs["bucket"], outputs["arn"]) == ("application-data", UNKNOWN)
    assert "forceDestroy" not in outputs


def test_component_has_registered_outputs(deployment: Deployment) -> None:
    storage = resource(deployment, f"{STORAGE}::storage")
    assert storage.outputs == {"name": "application-data"}


def test_repeated_run_is_equal_and_restores_the_process() -> None:
    before = (Path.cwd(), list(sys.path), set(sys.modules) & {"parts"}, list(sys.argv))
    urns: list[str] = []
    first = deployed()
    second = run(
        *(PROGRAM, "dev", FakeProvider()),
        preview=False,
        on_resource=lambda item: urns.append(item.registration.urn),
    )
    assert first == second
    assert urns == [item.registration.urn for item in first.resources]
    assert (Path.cwd(), list(sys.path), set(sys.modules) & {"parts"}, list(sys.argv)) == before


def test_program_runs_in_its_folder_with_its_modules(write: Write) -> None:
    program = write(
        "import os\nimport parts\npulumi.export('values', [os.getcwd(), parts.WORD])\n",
        **{"parts.py": "WORD = 'own'\n"},
    )
    deployed()
    assert deployed(program).exports["values"] == [os.fspath(program), "own"]


@pytest.mark.skipif(not hasattr(pulumi, "run"), reason="an older SDK has no pulumi.run")
def test_program_can_use_threads_that_wait_for_the_event_loop(write: Write) -> None:
    program = write(
        """
import asyncio

async def size():
    return 3

async def main():
    loop = asyncio.get_running_loop()
    wait = lambda: asyncio.run_coroutine_threadsafe(size(), loop).result()
    return {"size": await loop.run_in_executor(None, wait)}

pulumi.run(main)
"""
    )
    assert deployed(program).exports == {"size": 3}


def test_resource_of_an_apply_is_created(write: Write) -> None:
    program = write("pulumi.Output.from_input('jobs').apply(lambda name: aws.sqs.Queue(name))\n")
    created = deployed(program).resources
    assert [(item.registration.name, item.registration.source) for item in created][-1:] == [
        ("jobs", "__main__.py:3")
    ]


def test_secret_inputs_are_unwrapped_with_paths(write: Write) -> None:
    program = write(
        "secret = pulumi.Output.secret('s3cr3t')\n"
        "topic = aws.sns.Topic('t', name='t', tags={'a': secret})\n"
        "pulumi.export('tag', topic.tags)\n"
    )
    registration = deployed(program).resources[-1].registration
    assert registration.inputs["tags"] == {"a": "s3cr3t"}
    assert registration.secret_inputs == ("tags.a",)


def test_fake_names_do_not_look_random(write: Write) -> None:
    program = write("aws.s3.Bucket('Photos-V2')\naws.sqs.Queue('JobsV2')\n")
    bucket, queue = deployed(program).resources[-2:]
    assert re.fullmatch(r"photos-v2-[0-9a-f]{7}", bucket.outputs["bucket"])
    assert re.fullmatch(r"https://sqs[^/]+/\d+/JobsV2-[0-9a-f]{7}", queue.outputs["url"])


def test_program_can_have_a_dynamic_provider(write: Write) -> None:
    program = write(
        "from pulumi.dynamic import Resource, ResourceProvider\n"
        "class Own(Resource): ...\n"
        "topic = aws.sns.Topic('t', name='t')\n"
        "Own(ResourceProvider(), 'r', {'arn': topic.arn})\n"
    )
    registration = deployed(program).resources[-1].registration
    assert set(registration.inputs) == {"arn"}


ERRORS: list[list[Any]] = _CASES["errors"]


@pytest.mark.parametrize(("body", "message"), ERRORS)
def test_error_of_a_program_has_its_line(write: Write, body: str, message: str) -> None:
    assert message in failure(write(body))


def test_error_in_a_module_has_its_line(write: Write) -> None:
    program = write(
        "import inner\ninner.act()\n", **{"inner.py": "def act():\n    raise ValueError('no')\n"}
    )
    assert failure(program) == "inner.py:2: ValueError: no"


def test_change_within_the_same_second_is_run(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    program = write("pulumi.export('word', 'before')\n")
    file = program / "__main__.py"
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert deployed(program).exports == {"word": "before"}
    file.write_text(file.read_text().replace("before", "behind"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert deployed(program).exports == {"word": "behind"}


def test_disabled_default_provider_is_rejected(write: Write) -> None:
    program = write("aws.sns.Topic('t')\n", config='  pulumi:disable-default-providers: ["*"]\n')
    assert failure(program).startswith(
        "__main__.py:3: Default provider for 'aws' disabled. "
        "'urn:pulumi:dev::tiny::aws:sns/topic:Topic::t' must use an explicit provider"
    )


@pytest.mark.parametrize(
    ("key", "error"),
    [("allowed", "not in allowedAccountIds"), ("forbidden", "in forbiddenAccountIds")],
)
def test_emulator_rejects_provider_for_another_account(key: str, error: str) -> None:
    inputs = {f"{key}AccountIds": json.dumps(["210987654321" if key == "allowed" else ACCOUNT])}
    with pytest.raises(CommandError, match=error):
        ProviderConfigs(account=ACCOUNT).create(
            Registration("urn", "pulumi:providers:aws", "p", True, "", inputs)
        )


def test_tags_all_has_default_tags(write: Write) -> None:
    program = write(
        "p = aws.Provider('p', region='eu-west-1', default_tags={'tags': {'Project': 'x', "
        "'Own': 'no'}})\n"
        "aws.sns.Topic('t', tags={'Own': 'yes'}, opts=pulumi.ResourceOptions(provider=p))\n"
    )
    for provider, preview in ((PreviewProvider(), True), (FakeProvider(), False)):
        outputs = run(program, "dev", provider, preview=preview).resources[-1].outputs
        assert (outputs["tags"], outputs["tagsAll"]) == (
            {"Own": "yes"},
            {"Project": "x", "Own": "yes"},
        )


def test_unknown_stack_error_lists_the_stacks(write: Write) -> None:
    program = write("", **{"Pulumi.prod.yaml": ""})
    assert (
        failure(program, "live")
        == "There is no stack 'live': Pulumi.live.yaml does not exist. Available stacks: dev, prod."
    )


def test_folder_without_project_file_is_rejected(tmp_path: Path) -> None:
    assert failure(tmp_path).startswith(f"{tmp_path} has no Pulumi.yaml.")


INVALID_STACKS: list[list[Any]] = _CASES["invalid_stacks"]


@pytest.mark.parametrize(("stack", "message"), INVALID_STACKS)
def test_invalid_stack_file_has_one_message(write: Write, stack: str, message: str) -> None:
    assert failure(write("", **{"Pulumi.dev.yaml": stack})).startswith(message)


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (
            "config: [size]\n",
            "Pulumi.yaml: `config` must be a mapping of key to value, or of key to `type` and "
            "`default`.",
        ),
        ("name: other\n", "Pulumi.yaml:3: not valid YAML: the key 'name' is set twice"),
    ],
)
def test_invalid_project_file_has_one_message(write: Write, project: str, message: str) -> None:
    assert failure(write("", project=f"name: tiny\nruntime: python\n{project}")).startswith(message)


def test_file_that_is_not_utf8_is_rejected(write: Write) -> None:
    program = write("")
    (program / "Pulumi.dev.yaml").write_bytes(b"config:\n  name: caf\xe9\n")
    assert (
        failure(program)
        == "Pulumi.dev.yaml is not UTF-8 text. Save the file with the encoding UTF-8."
    )


def test_values_are_read_like_the_cli(write: Write) -> None:
    values = {
        "country": "no",
        "switch": "on",
        "on": "true",
        "day": "2026-01-01",
        "base": '{"a":1}',
        "other": '{"a":1}',
        "size": "small",
    }
    stack = (
        "config:\n  country: no\n  switch: on\n  on: true\n  day: 2026-01-01\n  base: &b "
        "{a: 1}\n  tiny:config:other: *b\n"
    )
    program = write(
        f"for key, value in {values!r}.items():\n    assert pulumi.Config().require(key) == "
        f"value, key\n",
        project="name: tiny\nruntime: {name: python}\nconfig: {size: {default: small}}\n",
    )
    (program / "Pulumi.dev.yaml").write_text(stack)
    deployed(program)


def test_missing_project_setting_is_rejected(write: Write) -> None:
    program = write("", project="name: tiny\nruntime: python\nconfig:\n  size: {type: string}\n")
    assert failure(program) == (
        "Stack 'dev' is missing configuration value 'size'. Add `tiny:size: <value>` to "
        "Pulumi.dev.yaml."
    )


def test_stack_transform_is_rejected(write: Write) -> None:
    program = write("pulumi.runtime.register_resource_transform(lambda args: None)\n")
    message = failure(program)
    assert message.startswith("__main__.py:3: ")
    # Older SDKs need the callback server of the engine before they call the monitor.
    assert "stack transforms are not supported" in message or "callback server" in message


def test_resource_is_read_by_its_urn(write: Write) -> None:
    program = write(
        "word = aws.ssm.Parameter('word', type='SecureString', value=pulumi.Output.secret('xyz'))\n"
        "def read(urn):\n"
        "    options = pulumi.ResourceOptions(urn=urn)\n"
        "    again = aws.ssm.Parameter('again', type='String', opts=options)\n"
        "    return pulumi.Output.all(again.id, again.value, again.value.is_secret())\n"
        "pulumi.export('again', pulumi.Output.unsecret(word.urn.apply(read)))\n"
    )
    deployment = deployed(program)
    urn = "urn:pulumi:dev::tiny::aws:ssm/parameter:Parameter::word"
    assert deployment.exports == {"again": [resource(deployment, urn).id, "xyz", True]}
    assert len(deployment.resources) == 2


def test_reading_an_unknown_resource_is_an_error(write: Write) -> None:
    urn = "urn:pulumi:dev::tiny::aws:ssm/parameter:Parameter::word"
    code = f"aws.ssm.Parameter('word', type='String', opts=pulumi.ResourceOptions(urn={urn!r}))\n"
    assert failure(write(code)) == f"tiny: unknown resource {urn}"


def test_program_can_require_a_version_of_the_cli(write: Write) -> None:
    program = write("pulumi.require_pulumi_version('>=3.0.0')\npulumi.export('word', 'yes')\n")
    assert deployed(program).exports == {"word": "yes"}


def test_provider_error_has_the_source_line(write: Write) -> None:
    class FailingProvider:
        def create(self, registration: Any) -> tuple[str, dict[str, Any]]:
            raise CommandError("quota exceeded")

        def invoke(
            self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
        ) -> dict[str, Any]:
            raise CommandError("not supported")

    program = write("p = aws.Provider('p', region='eu-west-1')\n")
    assert failure(program, provider=FailingProvider()) == "__main__.py:3: quota exceeded"
