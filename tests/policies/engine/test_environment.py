"""A pack without configuration has the levels of the environment."""

import json
import os

import pytest
from gatehouse_policies.catalogue import PACKS_FOLDER
from gatehouse_policies.configuration import Configuration
from gatehouse_policies.engine.environment import of_stack
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2

from tests.policies.pack_process import Evaluation, RunningPack
from tests.policies.rules.builders import changed
from tests.policies.rules.cases import COMPLIANT

PACK = PACKS_FOLDER / "resilience"


@pytest.mark.parametrize(
    ("stack", "config", "expected"),
    [
        ("dev", {}, "dev"),
        ("staging", {}, "staging"),
        ("alice", {}, "prod"),
        ("alice", {"shop:environment": "staging"}, "staging"),
        ("alice", {"shop:settings": '{"environment": "dev"}'}, "dev"),
        ("alice", {"shop:settings": '{"environment": "test"}'}, "prod"),
        ("alice", {"shop:settings": "x"}, "prod"),
        ("alice", {"other:environment": "dev"}, "prod"),
        ("prod", {"shop:environment": "dev"}, "prod"),
        ("prod", {"shop:settings": '{"environment": "dev"}'}, "prod"),
    ],
)
def test_environment_of_a_stack(stack: str, config: dict[str, str], expected: str) -> None:
    assert of_stack("shop", stack, config) == expected


def test_pack_without_configuration_has_levels_of_the_stack() -> None:
    """The pack is started and called as by the engine. In a preview, outputs are unknown."""
    variables = {
        "PULUMI_STACK": "alice",
        "PULUMI_PROJECT": "shop",
        "PULUMI_CONFIG": json.dumps({"shop:environment": "staging"}),
    }
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")
    }
    with RunningPack(PACK, env={**inherited, **variables}) as pack:
        info = pack.call("GetAnalyzerInfo", empty_pb2.Empty())
        program = changed(COMPLIANT["edge"](), "balancer", enableDeletionProtection=False)
        preview, up = (pack.check(program, known) for known in (False, True))
    names = {number: name.lower() for name, number in analyzer_pb2.EnforcementLevel.items()}
    levels = {policy.name: names[policy.enforcementLevel] for policy in info.policies}
    assert len(levels) > 20
    assert levels == {
        name: values["enforcementLevel"]
        for name, values in Configuration().of_pack("resilience", "staging").items()
    }
    for diagnostics in (preview, up):
        found = [
            (diagnostic.name, diagnostic.level)
            for diagnostic in diagnostics
            if diagnostic.policy == "GH-PUL-012"
        ]
        assert found == [("balancer", "advisory")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, True), ({"region": "us-west-2"}, False), ({"second_region": "us-west-2"}, False)],
)
def test_regions_of_the_settings_are_allowed(
    settings: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_PROJECT", "shop")
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({"shop:settings": json.dumps(settings)}))
    program = changed(COMPLIANT["edge"](), "balancer", region="us-west-2")
    violated = {row.policy for row in Evaluation(program, known=True).diagnostics()}
    assert ("GH-PUL-003" in violated) is expected
