"""Prerequisites of commands: the stack, credentials, values of the stack file, zones, quotas."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from release.__main__ import main
from tests.release.fake_aws import ROOT
from tests.release.fake_cli import FakePulumi, own_stack_file


@pytest.mark.parametrize(
    "no_stack",
    [
        "error: no stack named 'dev' found",
        "warning: x\nerror: could not read the bucket: AccessDenied\n",
        "error: PULUMI_ACCESS_TOKEN must be set for login",
    ],
)
def test_stack_that_the_cli_cannot_read_is_reported(account: FakePulumi, no_stack: str) -> None:
    account.stacks, account.no_stack = ("prod",), no_stack
    (line,) = account.refusal("preview").splitlines()
    assert no_stack.splitlines()[-1] in line
    assert "make bootstrap ENV=dev" in line
    assert "pulumi login 's3://gatehouse-pulumi-state-" in line


@pytest.mark.parametrize("command", ["preview", "destroy"])
def test_expired_credentials_are_one_message(account: FakePulumi, command: str) -> None:
    account.rejection = "ExpiredToken"
    (line,) = account.refusal(command).splitlines()
    assert "ExpiredToken" in line
    assert "aws sso login" in line


@pytest.mark.parametrize(
    ("command", "expected"),
    [("preview", "config profile (staff)"), ("logs", "config profile (staff)")],
)
def test_unknown_profile_is_one_message(command: str, expected: str) -> None:
    words = [sys.executable, "-m", "release", command, "--env", "staging"]
    variables = {**os.environ, "AWS_PROFILE": "staff"}
    result = subprocess.run(
        words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert expected in result.stderr


def test_region_without_an_endpoint_is_reported(account: FakePulumi) -> None:
    closed = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    (line,) = account.refusal("bootstrap", **closed).splitlines()
    assert "http://127.0.0.1:1" in line
    assert "correct `region` in Pulumi.dev.yaml" in line


# github.com/example exists
EXAMPLES = {"repository": "example/gatehouse", "state_bucket": "gatehouse-pulumi-state"}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            (ROOT / "Pulumi.dev.yaml").read_text(),
            ["account", "domain", "secrets.operators[0]", "monitoring.runbooks_url"],
        ),
        (own_stack_file(delivery=EXAMPLES), ["delivery.repository", "delivery.state_bucket"]),
    ],
)
@pytest.mark.parametrize("command", ["deploy", "image"])
def test_example_values_are_rejected(
    account: FakePulumi, command: str, text: str, keys: list[str]
) -> None:
    error = account.refusal(command, "--yes", stack_file=text, credentials=False)
    assert set(keys) <= set(error.splitlines()[0].partition("or remove: ")[2].split(", "))


def test_missing_image_is_rejected(account: FakePulumi) -> None:
    assert "make image ENV=dev" in account.refusal("deploy", image=f"sha256:{'0' * 64}")
    file = own_stack_file().replace("digest: sha256:", "tag: ")
    assert "image.digest" in account.refusal("deploy", stack_file=file)


@pytest.mark.parametrize(
    "text",
    [
        "config:\n\tgatehouse:settings: 1\n",
        "",
        "- config\n",
        "config:\n  gatehouse:settings: dev\n",
        "config:\n  gatehouse:setings: {}\n",
    ],
)
def test_malformed_stack_file_is_one_message(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    assert main(["preview", "--env", "dev", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("preview: Pulumi.dev.yaml")


@pytest.mark.parametrize(
    ("program", "command"), [("pulumi", "preview"), ("aws", "logs"), ("cosign", "deploy")]
)
def test_missing_program_is_one_message(account: FakePulumi, program: str, command: str) -> None:
    variables = {"GITHUB_REPOSITORY": "acme/gatehouse"}
    (line,) = account.refusal(command, missing=(program,), **variables).splitlines()
    assert line.startswith(f"{command}: {program} is not on PATH")


DOMAIN = "dev.gatehouse.acme.dev"


@pytest.mark.parametrize(
    ("zone", "zone_id", "accepted"),
    [
        ((DOMAIN, "", False), "", False),  # a second zone would need a delegation
        ((DOMAIN, "Gatehouse dev", False), "", True),
        ((DOMAIN, "", True), "", True),
        ((f"x.{DOMAIN}", "", False), "", True),
        ((DOMAIN, "", False), "Z0", True),
        (("acme.dev", "", False), "Z0", True),
        (("me.dev", "", False), "Z0", False),
        (("acme.dev", "", True), "Z0", False),
    ],
)
def test_certificate_never_waits_for_another_zone(
    account: FakePulumi, zone: tuple[str, str, bool], zone_id: str, accepted: bool
) -> None:
    account.zones = [zone]
    existing: dict[str, Any] = {"existing_resources": {"zone_id": zone_id}} if zone_id else {}
    result = account.release("preview", stack_file=own_stack_file(**existing))
    assert (result.returncode == 0) is accepted, result.stderr
    assert ("existing_resources.zone_id" in result.stderr) is not accepted


@pytest.mark.parametrize(
    ("stack", "vcpus", "request_code"),
    [("prod", 1000, ""), ("prod", 6, "fargate --quota-code L-3032A538"), ("dev", 6, "")],
)
def test_quota_that_is_too_low_is_reported(
    account: FakePulumi, stack: str, vcpus: int, request_code: str
) -> None:
    account.vcpus, account.stacks = vcpus, (stack,)
    text = own_stack_file(stack)
    (account.folder / f"Pulumi.{stack}.yaml").write_text(
        text.replace(f"sha256:{'0' * 64}", f"sha256:{'b' * 64}")
    )
    options: dict[str, Any] = {"stack_file": text} if stack == "dev" else {}
    result = account.release("preview", stack=stack, **options)
    assert result.returncode == (2 if request_code else 0), result.stderr
    assert request_code in result.stderr


def test_quota_that_cannot_be_read_is_not_checked(account: FakePulumi) -> None:
    account.intercept = lambda call, result: (
        {"__type": "AccessDeniedException"} if call == "GetServiceQuota" else result
    )
    assert account.release("preview").returncode == 0


def test_control_characters_of_a_log_do_not_reach_the_terminal(account: FakePulumi) -> None:
    log = account.folder / "log"
    log.write_text("a\tb\x1b]0;prod\x07\n")
    aws = account.folder / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\necho "$@"\ncat {log}\n')
    aws.chmod(0o755)
    command, line = account.release("logs").stdout.splitlines()
    assert command.startswith("logs tail /gatehouse/dev/gateway --follow --region eu-west-1")
    assert line == "a       b\ufffd]0;prod\ufffd"
