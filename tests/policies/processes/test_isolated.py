"""A program runs in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.processes.isolated import ProgramProcess, Request
from gatehouse_policies.processes.messages import Messages
from pulumi_local.errors import CommandError

PUBLIC = """
import pulumi_aws as aws

block = aws.s3.BucketPublicAccessBlock("open", bucket="open", block_public_acls=False)
"""
# What changed the check when the program ran in its process.
CHANGES = """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("gatehouse_policies"):
        for attribute in ("exit_code", "merge", "findings", "show", "write"):
            setattr(module, attribute, lambda *_args, **_kwargs: [])
import gc
from gatehouse_policies.reports.findings import Finding
Finding.blocks = property(lambda self: False)
for each in gc.get_objects():
    if isinstance(each, list):
        each[:] = [item for item in each if not isinstance(item, Finding)]
import os
os.environ["GATEHOUSE_IGNORE_EXEMPTIONS"] = "1"
"""


def write(folder: Path, code: str) -> Path:
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "Pulumi.prod.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (folder / "__main__.py").write_text(code)
    return folder


def test_program_cannot_change_the_check(tmp_path: Path) -> None:
    result = policy_check.check(write(tmp_path, PUBLIC + CHANGES), "prod")
    assert "GH-S3-001" in {item.rule for item in result.findings if item.blocks}
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("code", "status"), [("import os\nos._exit(0)\n", 0), ("import os\nos.abort()\n", -6)]
)
def test_program_that_ends_its_process_is_an_error(tmp_path: Path, code: str, status: int) -> None:
    with pytest.raises(CommandError, match=rf"ended its process \(status {status}\)"):
        policy_check.check(write(tmp_path, code), "prod")


def test_output_of_the_program_is_not_in_the_report(tmp_path: Path) -> None:
    program = write(tmp_path, "print('from the program')\nprint('{}', flush=True)\n")
    command = [sys.executable, "-m", "gatehouse_policies", "check", "--env", "prod"]
    result = subprocess.run(command, cwd=program, capture_output=True, text=True)
    assert result.returncode == 0
    assert "from the program" not in result.stdout
    assert "from the program" in result.stderr


def test_unexpected_error_of_a_run_is_reported(tmp_path: Path) -> None:
    request = Request(str(write(tmp_path, "")), "prod", False, "1", False, {"shop:x": {1, 2}})
    with pytest.raises(TypeError), ProgramProcess() as process:
        process.run(request)


def test_messages_are_the_same_in_both_processes(tmp_path: Path) -> None:
    program = write(tmp_path, PUBLIC)
    with ProgramProcess() as process:
        request = Request(str(program), "prod", True, "198018198019", False, {})
        outcome = process.run(request)
    assert outcome.messages is not None
    assert Messages.decoded(outcome.messages.encoded()) == outcome.messages
    assert [item.name for item in outcome.messages.registrations][-1] == "open"
    assert outcome.messages.registrations[-1].source == "__main__.py:4"
