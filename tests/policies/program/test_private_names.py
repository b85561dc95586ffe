"""Checks with SDKs that lack a private name."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.engine import applicable_policies

from tests.cases import cases

_CASES = cases(__file__)

PROGRAM = """
import pulumi

key = pulumi.CustomResource("aws:kms/key:Key", "key", {"enableKeyRotation": False})
tags = {"a": pulumi.Output.secret("b")}
pulumi.CustomResource("aws:sns/topic:Topic", "alerts", {"kmsMasterKeyId": key.id, "tags": tags})
"""
# Python imports this module in the check and in the packs. The SDK itself still has the name.
REMOVE: str = _CASES["remove"]
NAMES = [
    "pulumi.runtime._context",
    "pulumi.runtime.resource._get_stack_trace",
    "pulumi.runtime.Settings.outputs",
    "pulumi.runtime.Settings.rpc_manager",
    f"pulumi_policy.policy.{applicable_policies._SERVICER}",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    texts = {
        "Pulumi.yaml": "name: shop\nruntime: python\n",
        "Pulumi.dev.yaml": "",
        "__main__.py": PROGRAM,
    }
    for name, text in {**texts, "lib/sitecustomize.py": REMOVE}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def findings(program: Path, removed: str) -> list[tuple[Any, ...]]:
    command = [sys.executable, "-m", "gatehouse_policies", "check", "--env", "dev"]
    env = {**os.environ, "PYTHONPATH": str(program / "lib"), "REMOVED": removed}
    result = subprocess.run(
        command, cwd=program, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    report = json.loads((program / ".gatehouse" / "check" / "dev.sarif").read_text())
    return [
        (row["ruleId"], row["level"], row["message"]["text"], row["properties"]["passes"])
        for row in report["runs"][0]["results"]
    ]


@pytest.fixture(scope="module")
def expected(program: Path) -> list[tuple[Any, ...]]:
    rows = findings(program, "pulumi.runtime.no_such_name")
    assert "GH-KMS-001" in {row[0] for row in rows}
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_check_without_a_private_name(
    name: str, program: Path, expected: list[tuple[Any, ...]]
) -> None:
    assert findings(program, name) == expected
