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
REMOVE: str = _CASES["remove"]
NAMES = [
    "pulumi.runtime._context",
    "pulumi.runtime.resource._get_stack_trace",
    "pulumi.runtime.Settings.outputs",
    "pulumi.runtime.Settings.rpc_manager",
    f"pulumi_policy.policy.{applicable_policies._SERVICER}",
]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    texts = {
        "Pulumi.yaml": "name: shop\nruntime: python\n",
        "Pulumi.dev.yaml": "",
        "__main__.py": PROGRAM,
    }
    for name, text in {**texts, "lib/sitecustomize.py": REMOVE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


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


def test_check_without_private_names(program: Path) -> None:
    expected = findings(program, "")
    assert "GH-KMS-001" in {row[0] for row in expected}
    assert findings(program, " ".join(NAMES)) == expected
