"""Findings for tests of reports."""

from gatehouse_policies import catalogue
from gatehouse_policies.engine.meta_policies import UNDECIDED
from gatehouse_policies.reports.findings import Finding, Run, from_diagnostic

URN = "urn:pulumi:prod::gatehouse::gatehouse:bucket:Bucket$aws:s3/bucket:Bucket::files"
RUN = Run("prod", 120)


def violation(**changes: str) -> Finding:
    [finding] = findings(**changes)
    return finding


def findings(**changes: str) -> list[Finding]:
    rule = catalogue.rule("GH-S3-001")
    fields = {
        "pack": "security",
        "policy": rule.id,
        "message": f"the bucket has no BucketPublicAccessBlock. Fix: {rule.remedy}",
        "level": "mandatory",
        "urn": URN,
        "source": "components/bucket.py:88",
        **changes,
    }
    return from_diagnostic(**fields, passes=("known",))


def broken() -> Finding:
    message = f"rule GH-S3-001 raised KeyError on {URN}. Fix: fix it"
    return violation(policy="GH-BROKEN", message=message)


def undecided() -> Finding:
    return violation(
        policy="GH-UNDECIDED",
        message=(
            f"GH-S3-003 could not be decided for {URN}: policy is unknown. Fix: {UNDECIDED.remedy}"
        ),
    )


def exempted() -> Finding:
    return violation(
        policy="GH-EXEMPT-USED",
        level="advisory",
        message=(
            f"GH-S3-010 is exempted for {URN} until 2026-07-01 by platform (SEC-1): no log "
            f"bucket during the trial"
        ),
    )
