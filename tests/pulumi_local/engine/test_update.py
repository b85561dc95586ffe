"""Updates and deletions have the order of the engine, and the next run continues an interrupted
one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import AwsRules, NotUpdatable, destroy, update
from pulumi_local.errors import CommandError
from pulumi_local.types import Registration, Resource


class Memory(AwsRules):
    """Records its calls. `refused`: operations that fail, such as "delete queue"."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.exists: dict[str, str] = {}
        self.refused: set[str] = set()
        self.not_updatable: set[str] = set()
        self._count = 0

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if registration.type.startswith("pulumi:"):
            return "provider", dict(registration.inputs)
        self._call("create", registration.name)
        self._count += 1
        identity = f"{registration.name}-{self._count}"
        self.exists[identity] = registration.name
        return identity, {**registration.inputs, "arn": f"arn:{identity}"}

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        if registration.name in self.not_updatable:
            raise NotUpdatable("no such call")
        self._call(f"update {','.join(sorted(changed))} of", registration.name)
        return old.id, {**old.outputs, **registration.inputs}

    def delete(self, resource: Resource) -> None:
        self._call("delete", resource.registration.name)
        del self.exists[resource.id]

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        raise AssertionError(token)

    def _call(self, operation: str, name: str) -> None:
        if f"{operation} {name}" in self.refused:
            raise CommandError(f"{operation} {name} is refused")
        self.calls.append(f"{operation} {name}")


class Stack:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = Memory()
        self.checkpoint = Checkpoint()
        self.steps: list[Step] = []
        (folder / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
        (folder / "Pulumi.dev.yaml").write_text("")

    def up(self, code: str) -> list[str]:
        (self.folder / "__main__.py").write_text(
            f"import pulumi\nimport pulumi_aws as aws\nO = pulumi.ResourceOptions\n{code}"
        )
        start = len(self.provider.calls)
        self.steps.clear()
        try:
            update(self.folder, "dev", self.provider, self.checkpoint, report=self.steps.append)
        finally:
            self.calls = self.provider.calls[start:]
        return self.calls

    def fails(self, code: str) -> str:
        with pytest.raises(CommandError) as caught:
            self.up(code)
        return caught.value.message

    def destroy(self) -> list[str]:
        start = len(self.provider.calls)
        destroy(self.provider, self.checkpoint, self.steps.append)
        return self.provider.calls[start:]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


TWO = 'topic = aws.sns.Topic("topic", name="{topic}", opts=O({options}))\n' + (
    'aws.sns.TopicSubscription("subscription", topic=topic.arn, protocol="sqs", '
    'endpoint="{endpoint}")\n'
)


def two(topic: str = "a", endpoint: str = "x", options: str = "") -> str:
    return TWO.format(topic=topic, endpoint=endpoint, options=options)


def test_default_tags_of_the_provider_update_its_resources(stack: Stack) -> None:
    code = (
        'p = aws.Provider("p", region="eu-west-1", default_tags={{"tags": {{"owner": "{}"}}}})\n'
        + ('aws.sns.Topic("topic", name="a", opts=O(provider=p))')
    )
    stack.up(code.format("one"))
    assert stack.up(code.format("two")) == ["update tagsAll of topic"]


def test_replacement_is_created_before_the_deletion(stack: Stack) -> None:
    stack.up(two(topic="a"))
    assert stack.up(two(topic="b")) == [
        "create topic",
        "create subscription",
        "delete subscription",
        "delete topic",
    ]
    assert [step.operation for step in stack.steps] == ["replace", "replace", "delete", "delete"]
    assert sorted(stack.provider.exists.values()) == ["subscription", "topic"]


def test_replacement_with_delete_before_replace_deletes_its_dependents_first(stack: Stack) -> None:
    stack.up(two(topic="a", options="delete_before_replace=True"))
    assert stack.up(two(topic="b", options="delete_before_replace=True")) == [
        *("delete subscription", "delete topic", "create topic", "create subscription")
    ]


def test_replacement_with_the_same_name_is_created_after_the_deletion(stack: Stack) -> None:
    group = 'aws.ec2.SecurityGroup("group", name="{}", vpc_id="{}")'
    stack.up(group.format("a", "vpc-1"))
    assert stack.up(group.format("a", "vpc-2")) == ["delete group", "create group"]
    assert stack.up(group.format("b", "vpc-3")) == ["create group", "delete group"]


def test_ignored_changes_keep_the_deployed_value(stack: Stack) -> None:
    code = (
        'aws.sns.Topic("topic", display_name="{}", fifo_topic={}, '
        'opts=O(ignore_changes=["display_name", "tags"]))'
    )
    stack.up(code.format("1", False))
    assert stack.up(code.format("2", False)) == []
    assert stack.up(code.format("2", True)) == ["create topic", "delete topic"]
    (topic,) = (item for item in stack.checkpoint.resources if item.registration.name == "topic")
    assert topic.registration.inputs == {"displayName": "1", "fifoTopic": True}


def test_renamed_resource_with_an_alias_is_kept(stack: Stack) -> None:
    component = (
        "class Part(pulumi.ComponentResource):\n"
        "    def __init__(self, name, opts=None):\n"
        '        super().__init__("demo:index:Part", name, None, opts)\n'
        '        aws.sns.Topic(name + "-topic", name="a", opts=O(parent=self))\n'
    )
    stack.up(component + 'Part("old")\naws.sqs.Queue("first", name="q")')
    renamed = 'Part("new", O(aliases=[pulumi.Alias(name="old")]))\n' + (
        'aws.sqs.Queue("second", name="q", opts=O(aliases=[pulumi.Alias("first")]))'
    )
    assert stack.up(component + renamed) == []
    assert stack.up(component + renamed) == []
    assert sorted(stack.destroy()) == ["delete new-topic", "delete second"]


@pytest.mark.parametrize(
    "changed",
    [
        two(topic="b", options="protect=True"),
        "",
        two(topic="b", options="protect=True, delete_before_replace=True"),
    ],
    ids=["replacement", "deletion", "delete before replace"],
)
def test_protected_resource_is_neither_replaced_nor_deleted(stack: Stack, changed: str) -> None:
    stack.up(two(options="protect=True"))
    message = stack.fails(changed)
    assert "urn:pulumi:dev::tiny::aws:sns/topic:Topic::topic" in message
    assert "protect=False" in message
    assert stack.calls == []
    assert stack.up(two()) == [], "removing the protection makes no call"
    assert stack.up("") == ["delete subscription", "delete topic"]


@pytest.mark.parametrize(
    ("code", "option"),
    [
        ('aws.Provider("p", opts=O(env_var_mappings={"A": "B"}))', "envVarMappings"),
        (two(options='ignore_changes=["tags.owner"]'), "ignore_changes"),
        (two(options='replace_on_changes=["tags"]'), "replaceOnChanges"),
    ],
)
def test_unsupported_resource_option_is_rejected(stack: Stack, code: str, option: str) -> None:
    stack.up(two())
    assert option in stack.fails(code)


def test_change_that_the_provider_cannot_make_replaces_the_resource_and_says_so(
    stack: Stack,
) -> None:
    stack.up('aws.sns.Topic("topic", name="a", display_name="one")')
    stack.provider.not_updatable.add("topic")
    assert stack.up('aws.sns.Topic("topic", name="a", display_name="two")') == [
        "delete topic",
        "create topic",
    ]
    assert "no such call; AWS updates it in place" in stack.steps[-1].note


@pytest.mark.parametrize("refused", ["create subscription", "delete topic"])
def test_next_run_continues_an_interrupted_run(stack: Stack, refused: str) -> None:
    stack.up(two(topic="a"))
    stack.provider.refused = {refused}
    stack.fails(two(topic="b"))
    done = set(stack.calls)
    stack.provider.refused = set()
    rest = stack.up(two(topic="b"))
    assert refused in rest
    assert "create topic" in done
    assert "create topic" not in rest
    assert sorted(stack.provider.exists.values()) == ["subscription", "topic"]
    assert stack.up(two(topic="b")) == []
    assert stack.destroy() == ["delete subscription", "delete topic"]


def test_program_that_fails_keeps_the_deployed_resources(stack: Stack) -> None:
    stack.up(two())
    stack.fails(two(endpoint="y") + "raise ValueError('late')")
    assert stack.calls == ["create subscription"]
    assert stack.up(two(endpoint="y")) == ["delete subscription"]


def test_explicit_order_of_a_replacement_takes_precedence(stack: Stack) -> None:
    group = (
        'aws.ec2.SecurityGroup("group", name="a", vpc_id="{}", opts=O(delete_before_replace=False))'
    )
    stack.up(group.format("vpc-1"))
    assert stack.up(group.format("vpc-2")) == ["create group", "delete group"]
