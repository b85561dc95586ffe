"""The drawing shows every component once, in its tier, and the connections that the security groups let through."""

import re
import xml.etree.ElementTree as ET

import pytest

from sandbox.checks.graph import draw, mermaid, svg
from tools.docs.diagrams import STACKS, stack_graph

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.requirement("CG-23")
@pytest.mark.parametrize("stack", STACKS)
def test_every_component_stands_in_one_tier_and_the_picture_is_small_enough_to_read(stack: str) -> None:
    found = stack_graph(stack)
    keys = [node.key for node in found.nodes]
    assert len(keys) == len(set(keys))
    assert {
        "LoadBalancer_edge",
        "EcsService_gateway",
        "EcsService_console",
        "RdsInstance_database",
        "Valkey_cache",
    } <= set(keys)
    assert "TaskDefinition_gateway" not in keys, "a service and its task are one box"
    assert 20 <= len(keys) <= 60
    assert sum(len(nodes) for _, nodes in found.tiers()) == len(keys)


def test_traffic_is_what_the_security_groups_let_through() -> None:
    traffic = {(edge.source, edge.target): edge.label for edge in stack_graph("prod").edges if edge.traffic}
    assert traffic["internet", "LoadBalancer_edge"] == "80, 443"
    assert traffic["LoadBalancer_edge", "EcsService_gateway"] == "8080"
    assert traffic["EcsService_gateway", "RdsInstance_database"] == "5432"
    assert ("internet", "RdsInstance_database") not in traffic
    assert [source for source, target in traffic if target == "EcsService_gateway"] == ["LoadBalancer_edge"]


def test_each_process_is_given_its_own_secrets() -> None:
    given = {(edge.source, edge.target) for edge in stack_graph("prod").edges if edge.label == "is given"}
    assert ("EcsService_gateway", "Secret_pepper") in given
    assert ("EcsService_gateway", "Secret_session_key") not in given


def test_the_mermaid_text_names_in_its_arrows_only_boxes_that_it_draws() -> None:
    text = mermaid(stack_graph("prod"))
    boxes = set(re.findall(r"^ +(\w+)[\[(]", text, flags=re.MULTILINE))
    ends = {end for pair in re.findall(r"^ +(\w+) -\.?->\|[^|]+\| (\w+)$", text, flags=re.MULTILINE) for end in pair}
    assert ends
    assert ends <= boxes
    assert text.count("subgraph") == len(re.findall(r"^    end$", text, flags=re.MULTILINE))


def test_the_svg_is_well_formed_and_its_boxes_do_not_overlap() -> None:
    found = stack_graph("prod")
    root = ET.fromstring(svg(found))  # noqa: S314  our own text
    boxes = [(int(box.attrib["x"]), int(box.attrib["y"])) for box in root.iter(f"{_SVG}rect") if box.attrib["class"] == "box"]
    assert len(boxes) == len(set(boxes)) == len(found.nodes) + 1
    shown = {text.text for text in root.iter(f"{_SVG}text")}
    assert {node.title for node in found.nodes} <= shown
    assert draw(found, "svg") == svg(found)
