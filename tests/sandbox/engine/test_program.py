"""The engine runs a Pulumi program as Pulumi does, and says in one line what is wrong with it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine.program import run
from sandbox.engine.providers import InventedCloud, UnknownCloud
from sandbox.engine.types import UNKNOWN, Cloud, Deployment, Resource
from sandbox.errors import SandboxError

PROGRAMS = Path(__file__).parents[1] / "programs"
FAMILY = PROGRAMS / "family"

BUCKET = "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar$aws:s3/bucket:Bucket::cellar"
POLICY = "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar$aws:s3/bucketPolicy:BucketPolicy::cellar"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a program: its code, the lines of its stack file, other files."""

    def write_program(code: str, config: str = "", project: str = "name: tiny\nruntime: python\n", **files: str) -> Path:
        head = "import pulumi\nimport pulumi_aws as aws\n"
        texts = {"Pulumi.yaml": project, "Pulumi.dev.yaml": f"config:\n{config}" if config else "", **files}
        for name, text in {"__main__.py": head + code, **texts}.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write_program


def resource(deployment: Deployment, urn: str) -> Resource:
    return next(item for item in deployment.resources if item.registration.urn == urn)


def failure(program: Path, stack: str = "dev", cloud: Cloud | None = None, *, preview: bool = False) -> str:
    with pytest.raises(SandboxError) as caught:
        run(program, stack, cloud or InventedCloud(), preview=preview)
    return caught.value.message


def test_urns_carry_the_types_of_all_parents() -> None:
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False)
    assert [item.registration.urn for item in deployment.resources] == [
        "urn:pulumi:dev::family::demo:parts:House::home",
        "urn:pulumi:dev::family::pulumi:providers:aws::default_7_51_1",
        "urn:pulumi:dev::family::aws:sns/topic:Topic::bell",
        "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar::cellar",
        BUCKET,
        POLICY,
    ]


def test_exports_are_the_outputs_of_the_stack() -> None:
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False)
    assert deployment.exports == {
        "bucket": "cellar-of-the-house",
        "topic": {"arn": "arn:aws:sns:eu-west-1:123456789012:bell", "rooms": ["kitchen", "attic"]},
        "organization": "organization",
    }


def test_a_registration_names_the_line_that_declared_it() -> None:
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False)
    assert {item.registration.name: item.registration.source for item in deployment.resources} == {
        "home": "__main__.py:8",
        "default_7_51_1": "",
        "bell": "__main__.py:10",
        "cellar": "parts.py:15",
    }


def test_a_registration_keeps_parent_protection_and_property_dependencies() -> None:
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False)
    policy = resource(deployment, POLICY).registration
    assert policy.parent == "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar::cellar"
    assert policy.property_dependencies == {"bucket": (BUCKET,), "policy": (BUCKET,)}
    assert resource(deployment, "urn:pulumi:dev::family::aws:sns/topic:Topic::bell").registration.protect is True


def test_a_first_preview_keeps_unknown_what_comes_from_an_unknown_output() -> None:
    deployment = run(FAMILY, "dev", UnknownCloud(), preview=True)
    policy = resource(deployment, POLICY).registration
    assert policy.inputs == {"bucket": UNKNOWN, "policy": UNKNOWN}
    assert policy.property_dependencies == {"bucket": (BUCKET,), "policy": (BUCKET,)}
    assert deployment.exports["bucket"] == "cellar-of-the-house"
    assert deployment.exports["topic"] == {"arn": UNKNOWN, "rooms": ["kitchen", "attic"]}


def test_a_first_preview_leaves_out_what_aws_would_not_fill_in() -> None:
    outputs = resource(run(FAMILY, "dev", UnknownCloud(), preview=True), BUCKET).outputs
    assert outputs["bucket"] == "cellar-of-the-house"
    assert outputs["arn"] == UNKNOWN
    assert "forceDestroy" not in outputs


def test_a_component_has_the_outputs_it_registers() -> None:
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False)
    cellar = resource(deployment, "urn:pulumi:dev::family::demo:parts:House$demo:parts:Cellar::cellar")
    assert cellar.outputs == {"name": "cellar-of-the-house"}


def test_two_runs_in_one_process_give_the_same_and_leave_no_trace() -> None:
    before = (Path.cwd(), list(sys.path), set(sys.modules) & {"parts"}, list(sys.argv))
    first = run(FAMILY, "dev", InventedCloud(), preview=False)
    second = run(FAMILY, "dev", InventedCloud(), preview=False)
    assert first == second
    assert (Path.cwd(), list(sys.path), set(sys.modules) & {"parts"}, list(sys.argv)) == before


def test_a_program_sees_its_own_folder_and_modules(write: Write) -> None:
    program = write(
        "import os\nimport parts\npulumi.export('seen', [os.getcwd(), parts.WORD])\n", **{"parts.py": "WORD = 'mine'\n"}
    )
    run(FAMILY, "dev", InventedCloud(), preview=False)
    assert run(program, "dev", InventedCloud(), preview=False).exports["seen"] == [os.fspath(program), "mine"]


def test_on_resource_is_called_for_each_resource_in_order() -> None:
    seen: list[str] = []
    deployment = run(FAMILY, "dev", InventedCloud(), preview=False, on_resource=lambda item: seen.append(item.registration.urn))
    assert seen == [item.registration.urn for item in deployment.resources]


def test_secrets_are_unwrapped_and_their_paths_kept(write: Write) -> None:
    program = write(
        "secret = pulumi.Output.secret('s3cr3t')\n"
        "topic = aws.sns.Topic('t', name='t', tags={'a': secret})\n"
        "pulumi.export('tag', topic.tags)\n"
    )
    registration = run(program, "dev", InventedCloud(), preview=False).resources[-1].registration
    assert registration.inputs["tags"] == {"a": "s3cr3t"}
    assert registration.secret_inputs == ("tags.a",)


@pytest.mark.parametrize("preview", [True, False])
def test_a_program_error_names_the_file_the_line_and_the_exception(write: Write, preview: bool) -> None:
    program = write("aws.sns.Topic('t')\n{}['missing']\n")
    cloud: Cloud = UnknownCloud() if preview else InventedCloud()
    assert failure(program, cloud=cloud, preview=preview) == "__main__.py:4: KeyError: 'missing'"


def test_an_error_in_a_module_names_the_module(write: Write) -> None:
    program = write("import inner\ninner.act()\n", **{"inner.py": "def act():\n    raise ValueError('no')\n"})
    assert failure(program) == "inner.py:2: ValueError: no"


def test_a_program_that_was_changed_within_the_same_second_is_run_as_it_is(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    program = write("pulumi.export('word', 'before')\n")
    file = program / "__main__.py"
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert run(program, "dev", InventedCloud(), preview=False).exports == {"word": "before"}
    file.write_text(file.read_text().replace("before", "behind"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert run(program, "dev", InventedCloud(), preview=False).exports == {"word": "behind"}


def test_a_syntax_error_names_its_line(write: Write) -> None:
    assert failure(write("if True print(1)\n")) == "__main__.py:3: SyntaxError: invalid syntax"


def test_a_failing_apply_that_nothing_waits_for_is_an_error(write: Write) -> None:
    program = write("topic = aws.sns.Topic('t', name='t')\ntopic.arn.apply(lambda arn: arn['x'])\n")
    assert failure(program) == "__main__.py:4: TypeError: string indices must be integers, not 'str'"


def test_a_program_that_exits_is_an_error(write: Write) -> None:
    assert failure(write("raise SystemExit(3)\n")) == "__main__.py:3: the program ended itself with exit status 3."


def test_a_duplicate_urn_is_refused_as_by_the_engine(write: Write) -> None:
    program = write("aws.sns.Topic('t')\naws.sns.Topic('t')\n")
    assert failure(program) == (
        "__main__.py:4: Duplicate resource URN 'urn:pulumi:dev::tiny::aws:sns/topic:Topic::t'; "
        "try giving it a unique name (first declared at __main__.py:3)."
    )


def test_an_aws_type_that_does_not_exist_is_refused(write: Write) -> None:
    program = write("pulumi.CustomResource('aws:s3/buckett:Buckett', 'b', {})\n")
    assert "the installed pulumi-aws has no resource type aws:s3/buckett:Buckett." in failure(program)


def test_a_function_that_does_not_exist_is_refused_by_name(write: Write) -> None:
    message = failure(write("pulumi.runtime.invoke('aws:ec2/getNothing:getNothing', {})\n"))
    assert message.startswith(
        "__main__.py:3: The program calls aws:ec2/getNothing:getNothing, which the sandbox has no answer for"
    )


def test_a_program_that_is_only_judged_may_look_things_up(write: Write) -> None:
    program = write("pulumi.export('ami', aws.ec2.get_ami(most_recent=True, owners=['amazon']).most_recent)\n")
    cloud = InventedCloud()
    assert run(program, "dev", cloud, preview=False).exports == {"ami": True}
    assert cloud.invented == {"aws:ec2/getAmi:getAmi"}


def test_the_invokes_of_account_and_region_are_answered(write: Write) -> None:
    program = write("pulumi.export('account', aws.get_caller_identity().account_id)\n")
    assert run(program, "dev", InventedCloud(), preview=False).exports == {"account": "123456789012"}


def test_a_disabled_default_provider_is_refused_as_by_the_engine(write: Write) -> None:
    program = write("aws.sns.Topic('t')\n", config='  pulumi:disable-default-providers: ["*"]\n')
    assert failure(program).startswith(
        "__main__.py:3: Default provider for 'aws' disabled. "
        "'urn:pulumi:dev::tiny::aws:sns/topic:Topic::t' must use an explicit provider"
    )


def test_a_provider_for_another_account_is_refused(write: Write) -> None:
    program = write("aws.Provider('p', region='eu-west-1', allowed_account_ids=['210987654321'])\n")
    assert "AWS account 123456789012 is not among allowedAccountIds (210987654321)." in failure(program)


def test_default_tags_of_the_provider_are_part_of_tags_all(write: Write) -> None:
    program = write(
        "p = aws.Provider('p', region='eu-west-1', default_tags={'tags': {'Project': 'x', 'Own': 'no'}})\n"
        "aws.sns.Topic('t', tags={'Own': 'yes'}, opts=pulumi.ResourceOptions(provider=p))\n"
    )
    for cloud, preview in ((UnknownCloud(), True), (InventedCloud(), False)):
        outputs = run(program, "dev", cloud, preview=preview).resources[-1].outputs
        assert (outputs["tags"], outputs["tagsAll"]) == ({"Own": "yes"}, {"Project": "x", "Own": "yes"})


def test_configuration_is_read_as_pulumi_reads_it(write: Write) -> None:
    program = write(
        "c = pulumi.Config()\n"
        "pulumi.export('seen', [c.get('word'), c.get_bool('on'), c.get_int('count'), c.get('day'), c.require_object('o')])\n"
        "pulumi.export('default', c.get('size'))\n",
        config='  tiny:word: a\n  tiny:on: true\n  count: 3\n  tiny:day: 2025-01-31\n  tiny:o: {x: [1, "2"]}\n',
        project="name: tiny\nruntime: {name: python}\nconfig:\n  size: {type: string, default: small}\n",
    )
    exports = run(program, "dev", InventedCloud(), preview=False).exports
    assert exports == {"seen": ["a", True, 3, "2025-01-31", {"x": [1, "2"]}], "default": "small"}


def test_an_unknown_stack_lists_the_known_ones(write: Write) -> None:
    program = write("", **{"Pulumi.prod.yaml": ""})
    assert failure(program, "live") == "There is no stack 'live': Pulumi.live.yaml does not exist. Known stacks: dev, prod."


def test_a_folder_without_a_project_file_is_refused(tmp_path: Path) -> None:
    assert failure(tmp_path).startswith(f"{tmp_path} has no Pulumi.yaml.")


def test_an_encrypted_value_is_refused_by_name(write: Write) -> None:
    program = write("", config="  tiny:password:\n    secure: AAABBB\n")
    assert failure(program).startswith("Pulumi.dev.yaml: tiny:password is an encrypted value (`secure:`)")


def test_broken_yaml_names_its_line(write: Write) -> None:
    assert failure(write("", config="  a: [1\n")).startswith("Pulumi.dev.yaml:3: not valid YAML")


def test_a_missing_required_setting_says_what_to_add(write: Write) -> None:
    program = write("", project="name: tiny\nruntime: python\nconfig:\n  size: {type: string}\n")
    assert failure(program) == ("Stack 'dev' is missing configuration value 'size'. Add `tiny:size: <value>` to Pulumi.dev.yaml.")


def test_a_missing_setting_in_the_program_names_its_line(write: Write) -> None:
    assert failure(write("pulumi.Config().require('word')\n")) == (
        "__main__.py:3: Missing required configuration variable 'tiny:word' "
        "please set a value using the command `pulumi config set tiny:word <value>`"
    )


def test_a_stack_transform_is_refused_rather_than_ignored(write: Write) -> None:
    program = write("pulumi.runtime.register_resource_transform(lambda args: None)\n")
    assert "The program uses a stack transform, which the sandbox does not run." in failure(program)


def test_a_cloud_error_names_the_line_that_declared_the_resource(write: Write) -> None:
    class Refusing:
        def create(self, registration: Any) -> tuple[str, dict[str, Any]]:
            raise SandboxError("no room")

        def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
            raise SandboxError("nobody home")

    program = write("p = aws.Provider('p', region='eu-west-1')\n")
    assert failure(program, cloud=Refusing()) == "__main__.py:3: no room"
