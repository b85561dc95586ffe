"""Lets Prowler look at the emulator that holds the deployed stack; what it finds is mended or has a written reason."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.errors import SandboxError
from sandbox.local.ports import Ports
from sandbox.local.progress import Progress
from sandbox.paths import REPOSITORY

VERSION = "5.46.0"
"""Version of Prowler. Another version has other checks and findings."""

SERIOUS = ("critical", "high")
ACCEPTED = Path(__file__).with_name("prowler_accepted.toml")
SCANNED = Path(__file__).with_name("prowler_results.toml")
"""What the audits of the three stacks came to, when they were last written down."""
# The services of the stack; every other one is empty in the emulator and would only take time.
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
        "dynamodb",
    ),
    *("ec2", "ecr", "ecs", "elasticache", "elbv2", "guardduty", "iam", "kms", "macie", "rds", "route53", "s3", "secretsmanager"),
    *("securityhub", "sns", "vpc", "wafv2"),
)
_INSTALL_S, _SCAN_S = 1200, 1800


@dataclass(frozen=True, slots=True)
class Finding:
    """One failed check. severity: critical, high, medium, low or informational, in lower case."""

    check: str
    severity: str
    resource: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why findings of a check stay: kind "emulator" (it is not so on AWS), "account" (not this stack's) or "decision".

    resource: a pattern for the ARN; the reason covers no other resource. stacks: those in which it is found; empty is all.
    """

    check: str
    resource: str
    kind: str
    why: str
    stacks: tuple[str, ...] = ()

    def covers(self, finding: Finding) -> bool:
        return self.check == finding.check and fnmatchcase(finding.resource, self.resource)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, sorted out. unused: reasons that cover nothing any more."""

    passed: int
    accepted: tuple[tuple[Finding, Reason], ...]
    open: tuple[Finding, ...]
    unused: tuple[Reason, ...]

    @property
    def exit_code(self) -> int:
        """1 when a critical or high finding has no reason."""
        return int(any(finding.severity in SERIOUS for finding in self.open))

    @property
    def counts(self) -> dict[str, int]:
        """Checks passed, findings with a reason, findings without one: a row of `SCANNED`."""
        return {"passed": self.passed, "reasons": len(self.accepted), "open": len(self.open)}


def audit(stack: str, home: Path, progress: Progress | None = None) -> int:
    """Deploy the stack, let Prowler look at it, and judge what it found. Raises SandboxError when it cannot run."""
    say = progress or Progress()
    say.title(f"Prowler {VERSION} over the stack {stack} in the emulator")
    prowler = _tool(home, say)
    ports = Ports()
    emulator = Emulator.start(ports.claim())
    try:
        say.step("Deploying to the AWS emulator")
        deployment = run(REPOSITORY, stack, emulator, preview=False)
        say.done(f"{sum(made.registration.custom for made in deployment.resources)} resources at {emulator.endpoint}")
        say.step(f"{len(SERVICES)} services; this takes some minutes")
        rows = _scan(prowler, emulator, str(deployment.exports["region"]), home / "audit", stack)
    finally:
        emulator.stop()
        ports.close()
    judged = judge(rows, accepted(stack))
    (home / "audit" / f"{stack}.json").write_text(json.dumps(judged.counts) + "\n", encoding="utf-8")
    _show(judged, say)
    return judged.exit_code


def accepted(stack: str = "", file: Path = ACCEPTED) -> list[Reason]:
    """The reasons that are written down, for one stack or (without one) for all of them."""
    rows = tomllib.loads(file.read_text(encoding="utf-8"))["finding"]
    found = [
        Reason(check, row.get("resource", "*"), row["kind"], row["why"], tuple(row.get("stacks", ())))
        for row in rows
        for check in row["checks"]
    ]
    return [reason for reason in found if not stack or not reason.stacks or stack in reason.stacks]


def judge(rows: Iterable[dict[str, Any]], reasons: Sequence[Reason]) -> Audit:
    """Sort out Prowler's findings (OCSF, "Detection Finding")."""
    passed, kept, still, used = 0, [], [], set()
    for row in rows:
        if row.get("status_code") != "FAIL":
            passed += row.get("status_code") == "PASS"
            continue
        resource = (row.get("resources") or [{}])[0]
        finding = Finding(
            str(row["metadata"]["event_code"]),
            str(row["severity"]).lower(),
            str(resource.get("uid", "")),
            str(row["status_detail"]),
        )
        reason = next((reason for reason in reasons if reason.covers(finding)), None)
        if reason is None:
            still.append(finding)
        else:
            used.add(reason)
            kept.append((finding, reason))
    unused = tuple(reason for reason in reasons if reason not in used)
    return Audit(passed, tuple(kept), tuple(sorted(still, key=_order)), unused)


def _order(finding: Finding) -> tuple[int, str, str]:
    levels = ("critical", "high", "medium", "low", "informational")
    return (levels.index(finding.severity) if finding.severity in levels else len(levels), finding.check, finding.resource)


def _show(found: Audit, say: Progress) -> None:
    say.step(f"{found.passed} passed, {len(found.accepted)} have a reason in sandbox/accepted.toml, {len(found.open)} have none")
    for finding in found.open:
        (say.bad if finding.severity in SERIOUS else say.warn)(f"{finding.severity} {finding.check}: {finding.detail}")
    for reason in found.unused:
        say.warn(f"the reason for {reason.check} on {reason.resource} covers nothing")
    if found.exit_code:
        say.bad("a critical or high finding has no reason: mend it, or write one into sandbox/checks/prowler_accepted.toml")
    else:
        say.done("no critical or high finding without a reason")


def _tool(home: Path, say: Progress) -> Path:
    """Prowler in an environment of its own: it needs hundreds of packages that must not meet ours."""
    folder = home / "prowler"
    prowler = folder / "bin" / "prowler"
    if not _is(prowler, VERSION):
        say.step(f"Installing Prowler {VERSION} into {folder} (2 GB, some minutes, once)")
        shutil.rmtree(folder, ignore_errors=True)
        log = home / "prowler.log"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("w") as sink:
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", f"prowler=={VERSION}"],
            ):
                if subprocess.run(command, stdout=sink, stderr=sink, timeout=_INSTALL_S, check=False).returncode != 0:
                    raise SandboxError(f"Prowler could not be installed. Is the package index reachable? Log: {log}")
    return prowler


def _is(prowler: Path, version: str) -> bool:
    if not prowler.is_file():
        return False
    said = subprocess.run([str(prowler), "--version"], capture_output=True, text=True, timeout=120, check=False).stdout
    return version in said.split()


def _scan(prowler: Path, emulator: Emulator, region: str, folder: Path, stack: str) -> list[dict[str, Any]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    key, secret = emulator.credentials
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    env = {
        **kept,
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    command = [
        str(prowler),
        "aws",
        "--no-banner",
        "--no-color",
        "--ignore-exit-code-3",
        "--region",
        region,
        "--service",
        *SERVICES,
    ]
    command += ["--output-formats", "json-ocsf", "--output-filename", stack, "--output-directory", str(folder)]
    with (folder / "prowler.log").open("w") as sink:
        try:
            code = subprocess.run(command, env=env, stdout=sink, stderr=sink, timeout=_SCAN_S, check=False).returncode
        except subprocess.TimeoutExpired:
            raise SandboxError(f"Prowler did not end within {_SCAN_S} s. Log: {folder / 'prowler.log'}") from None
    report = folder / f"{stack}.ocsf.json"
    if code != 0 or not report.is_file():
        raise SandboxError(f"Prowler failed with exit code {code}. Log: {folder / 'prowler.log'}")
    rows: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))
    return rows
