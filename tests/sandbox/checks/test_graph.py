"""The graph contains each component once, in its tier, and the connections that security groups
allow.
"""

import re

import pytest

from sandbox.checks.graph import graph, mermaid
from tools.docs.deployments import STACKS, deployed


@pytest.mark.requirement("CG-23")
@pytest.mark.parametrize("stack", STACKS)
def test_each_component_is_in_one_tier(stack: str) -> None:
    diagram = graph(deployed(stack))
    keys = [node.key for node in diagram.nodes]
    assert len(keys) == len(set(keys))
    assert {
        "LoadBalancer_edge",
        "EcsService_gateway",
        "EcsService_console",
        "RdsInstance_database",
        "Valkey_cache",
    } <= set(keys)
    assert "TaskDefinition_gateway" not in keys, "a service includes its task definition"
    assert 20 <= len(keys) <= 60
    assert sum(len(nodes) for _, nodes in diagram.tiers()) == len(keys)


def test_connections_are_those_of_security_groups() -> None:
    traffic = {
        (edge.source, edge.target): edge.label
        for edge in graph(deployed("prod")).edges
        if edge.traffic
    }
    assert traffic["internet", "LoadBalancer_edge"] == "80, 443"
    assert traffic["LoadBalancer_edge", "EcsService_gateway"] == "8080"
    assert traffic["EcsService_gateway", "RdsInstance_database"] == "5432"
    assert ("internet", "RdsInstance_database") not in traffic
    assert [source for source, target in traffic if target == "EcsService_gateway"] == [
        "LoadBalancer_edge"
    ]


def test_injected_secrets() -> None:
    injected = {
        (edge.source, edge.target)
        for edge in graph(deployed("prod")).edges
        if edge.label == "injected"
    }
    assert ("EcsService_gateway", "Secret_pepper") in injected
    assert ("EcsService_gateway", "Secret_session_key") not in injected


def test_mermaid_arrows_connect_existing_boxes() -> None:
    text = mermaid(graph(deployed("prod")))
    boxes = set(re.findall(r"^ +(\w+)[\[(]", text, flags=re.MULTILINE))
    ends = {
        end
        for pair in re.findall(r"^ +(\w+) -\.?->\|[^|]+\| (\w+)$", text, flags=re.MULTILINE)
        for end in pair
    }
    assert ends
    assert ends <= boxes
    assert text.count("subgraph") == len(re.findall(r"^    end$", text, flags=re.MULTILINE))
