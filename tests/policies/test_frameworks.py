"""Mappings to frameworks, and the rationale of each control."""

import re
import tomllib
from datetime import date
from pathlib import Path

from gatehouse_policies import catalogue, frameworks


def test_each_control_has_a_rationale() -> None:
    texts = Path(catalogue.__file__).with_name("controls.toml").read_text()
    assert [*tomllib.loads(texts)] == [rule.id for rule in catalogue.RULES]
    for rule in catalogue.RULES:
        assert re.fullmatch(r"[A-Z].{20,140}\.", rule.rationale), rule.id


def test_mapping_names_its_source_and_date() -> None:
    assert {*frameworks.frameworks()} == {"cis", "cis-3", "fsbp", "pci-dss", "nist-800-53"}
    for framework in frameworks.frameworks().values():
        assert framework.source.startswith("https://")
        assert date(2023, 1, 1) < framework.date <= date.today()
        upstream = {id for rule in catalogue.RULES for id in rule.upstream.split()}
        if framework.id != "fsbp":  # the whole standard
            assert {*framework.requirements} <= upstream, framework.id


def test_control_has_the_requirements_of_its_upstream_controls() -> None:
    assert frameworks.of_control(catalogue.rule("GH-CT-003")) == {
        "cis": ["4.2"],
        "cis-3": ["3.2"],
        "fsbp": ["CloudTrail.4"],
        "pci-dss": ["CloudTrail.4"],
        "nist-800-53": ["AU-9", "SI-4", "SI-7(1)", "SI-7(3)", "SI-7(7)"],
    }
    assert frameworks.of_control(catalogue.rule("GH-CT-007")) == {}
