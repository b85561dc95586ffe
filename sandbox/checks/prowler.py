"""`python -m sandbox prowler`: scans a deployed stack with Prowler and compares the findings with
the accepted ones.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gatehouse_policies.files import private_folder
from gatehouse_policies.program.runner import run

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY
from sandbox.progress import Progress

VERSION = "5.46.0"
"""Version of Prowler. Other versions have different checks and findings."""

SERIOUS = ("critical", "high")
ACCEPTED = Path(__file__).with_name("prowler_accepted.toml")
# The services that the stacks use.
SERVICES = (
    *(
        "accessanalyzer",
        "acm",
        "apigateway",
        "autoscaling",
        "awslambda",
        "backup",
        "cloudtrail",
        "cloudwatch",
        "config",
    ),
    *(
        "dynamodb",
        "ec2",
        "ecr",
        "ecs",
        "elasticache",
        "elbv2",
        "guardduty",
        "iam",
        "kms",
        "macie",
        "rds",
        "route53",
        "s3",
    ),
    *("secretsmanager", "securityhub", "sns", "vpc", "wafv2"),
)
_INSTALL_S, _SCAN_S = 1200, 1800


@dataclass(frozen=True, slots=True)
class Finding:
    """A failed check of one resource. severity: critical, high, medium, low or informational."""

    check: str
    severity: str
    resource: str
    detail: str


@dataclass(frozen=True, slots=True)
class AcceptedFinding:
    """Findings of a check that are accepted.

    resource: pattern of the ARN. kind: "emulator" (the finding does not occur on AWS), "account"
    (the finding is not about the stack) or "decision". why: the reason. stacks: the stacks in which
    the findings occur; empty for all stacks.
    """

    check: str
    resource: str
    kind: str
    why: str
    stacks: tuple[str, ...] = ()

    def covers(self, finding: Finding) -> bool:
        return self.check == finding.check and fnmatchcase(finding.resource, self.resource)


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of a scan. open: findings that are not accepted. unused: accepted findings that
    did not occur.
    """

    passed: int
    accepted: tuple[tuple[Finding, AcceptedFinding], ...]
    open: tuple[Finding, ...]
    unused: tuple[AcceptedFinding, ...]

    @property
    def exit_code(self) -> int:
        """1 if a critical or high finding is not accepted; otherwise 0."""
        return int(any(finding.severity in SERIOUS for finding in self.open))


def scan(stack: str, home: Path) -> int:
    """Deploy a stack to the emulator and scan the stack. Returns the exit code. Raises SandboxError
    if Prowler cannot run.
    """
    progress = Progress()
    progress.title(f"Scanning the stack {stack} with Prowler {VERSION}")
    prowler = _install(home, progress)
    emulator = Emulator.start()
    try:
        progress.step("Deploying to the AWS emulator")
        deployment = run(REPOSITORY, stack, emulator, preview=False)
        count = sum(resource.registration.custom for resource in deployment.resources)
        progress.done(f"{count} resources at {emulator.endpoint}")
        progress.step(f"Scanning {len(SERVICES)} services. This takes a few minutes.")
        rows = _run(
            prowler, emulator, str(deployment.exports["region"]), home / "prowler-report", stack
        )
    finally:
        emulator.stop()
    result = classify(rows, accepted(stack))
    _print(result, progress)
    return result.exit_code


def accepted(stack: str = "", file: Path = ACCEPTED) -> list[AcceptedFinding]:
    """The accepted findings for one stack, by default for all stacks."""
    rows = tomllib.loads(file.read_text(encoding="utf-8"))["finding"]
    entries = [
        AcceptedFinding(
            check, row.get("resource", "*"), row["kind"], row["why"], tuple(row.get("stacks", ()))
        )
        for row in rows
        for check in row["checks"]
    ]
    return [entry for entry in entries if not stack or not entry.stacks or stack in entry.stacks]


def classify(rows: Iterable[dict[str, Any]], entries: Sequence[AcceptedFinding]) -> ScanResult:
    """Match the findings from Prowler (OCSF, "Detection Finding") with the accepted ones."""
    rows = list(rows)
    failed = [_finding(row) for row in rows if row.get("status_code") == "FAIL"]
    entry_of = {
        finding: next((entry for entry in entries if entry.covers(finding)), None)
        for finding in failed
    }
    matched = [(finding, entry) for finding in failed if (entry := entry_of[finding])]
    return ScanResult(
        passed=sum(row.get("status_code") == "PASS" for row in rows),
        accepted=tuple(matched),
        open=tuple(
            sorted((finding for finding in failed if entry_of[finding] is None), key=_order)
        ),
        unused=tuple(entry for entry in entries if entry not in entry_of.values()),
    )


def _finding(row: dict[str, Any]) -> Finding:
    resource = str((row.get("resources") or [{}])[0].get("uid", ""))
    return Finding(
        str(row["metadata"]["event_code"]),
        str(row["severity"]).lower(),
        resource,
        str(row["status_detail"]),
    )


def _order(finding: Finding) -> tuple[int, str, str]:
    severities = (*SERIOUS, "medium", "low", finding.severity)
    return severities.index(finding.severity), finding.check, finding.resource


def _print(result: ScanResult, progress: Progress) -> None:
    progress.step(
        f"{result.passed} passed, {len(result.accepted)} accepted findings, {len(result.open)} "
        f"other findings"
    )
    for finding in result.open:
        (progress.fail if finding.severity in SERIOUS else progress.warn)(
            f"{finding.severity} {finding.check}: {finding.detail}"
        )
    for entry in result.unused:
        progress.warn(f"the accepted finding {entry.check} on {entry.resource} did not occur")
    if result.exit_code:
        progress.fail(
            f"critical or high findings: fix them, or accept them with a reason in "
            f"{ACCEPTED.relative_to(REPOSITORY)}"
        )
    else:
        progress.done("no critical or high findings")


def _install(home: Path, progress: Progress) -> Path:
    """Install Prowler into a separate virtual environment, because Prowler requires hundreds of
    packages. Returns the command.
    """
    folder = home / "prowler"
    prowler = folder / "bin" / "prowler"
    if not _is_installed(prowler):
        progress.step(
            f"Installing Prowler {VERSION} into {folder} (2 GB, once; this takes a few minutes)"
        )
        shutil.rmtree(folder, ignore_errors=True)
        log = home / "prowler.log"
        private_folder(home)
        with log.open("w") as sink:
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [
                    str(folder / "bin" / "python"),
                    "-m",
                    "pip",
                    "install",
                    "--disable-pip-version-check",
                    f"prowler=={VERSION}",
                ],
            ):
                if (
                    subprocess.run(
                        command, stdout=sink, stderr=sink, timeout=_INSTALL_S, check=False
                    ).returncode
                    != 0
                ):
                    raise SandboxError(
                        f"Prowler could not be installed. Is the package index reachable? Log: "
                        f"{log}"
                    )
    return prowler


def _is_installed(prowler: Path) -> bool:
    if not prowler.is_file():
        return False
    output = subprocess.run(
        [str(prowler), "--version"], capture_output=True, text=True, timeout=120, check=False
    ).stdout
    return VERSION in output.split()


def _run(
    prowler: Path, emulator: Emulator, region: str, folder: Path, stack: str
) -> list[dict[str, Any]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    key, secret = emulator.credentials
    env = {
        **child_processes.aws_environment(emulator.endpoint, region),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": region,
        "NO_PROXY": "127.0.0.1",
    }
    command = [str(prowler), "aws", "--no-banner", "--no-color", "--ignore-exit-code-3"]
    command += ["--region", region, "--service", *SERVICES]
    command += [
        "--output-formats",
        "json-ocsf",
        "--output-filename",
        stack,
        "--output-directory",
        str(folder),
    ]
    with (folder / "prowler.log").open("w") as sink:
        try:
            code = subprocess.run(
                command, env=env, stdout=sink, stderr=sink, timeout=_SCAN_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise SandboxError(
                f"Prowler did not finish within {_SCAN_S} s. Log: {folder / 'prowler.log'}"
            ) from None
    report = folder / f"{stack}.ocsf.json"
    if code != 0 or not report.is_file():
        raise SandboxError(f"Prowler failed with exit code {code}. Log: {folder / 'prowler.log'}")
    rows: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))
    return rows
