"""Findings as a pack's diagnostics make them, for the tests of reports."""

from __future__ import annotations

from policies import catalogue
from policies.reports.findings import Finding, Run, finding

URN = "urn:pulumi:prod::gatehouse::gatehouse:bucket:Bucket$aws:s3/bucket:Bucket::files"
RUN = Run("prod", 120)


def violation(**changed: str) -> Finding:
    rule = catalogue.rule("GH-S3-001")
    fields = {
        "pack": "security",
        "policy": rule.id,
        "message": f"no public access block belongs to this bucket. Fix: {rule.remedy}",
        "level": "mandatory",
        "urn": URN,
        "source": "components/bucket.py:88",
        **changed,
    }
    return finding(
        pack=fields["pack"],
        policy=fields["policy"],
        message=fields["message"],
        level=fields["level"],
        urn=fields["urn"],
        passes=("known",),
        source=fields["source"],
    )


def undecided(level: str = "mandatory") -> Finding:
    return violation(
        policy="GH-UNDECIDED",
        level=level,
        message=f"GH-S3-003 could not be decided for {URN}: policy is unknown. Fix: {catalogue.UNDECIDED.remedy}",
    )


def exempted() -> Finding:
    return violation(
        policy="GH-EXEMPT-USED",
        level="advisory",
        message=f"GH-S3-010 is exempted for {URN} until 2026-07-01 by platform (SEC-1): the trial has no log bucket",
    )
