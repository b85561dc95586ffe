"""Meta policies: policies that every pack contains beside its rules, to report on the evaluation itself."""

from dataclasses import dataclass

from policies.engine.rule import Levels, Severity, levels

_DOCS = "https://www.pulumi.com/docs/iac/using-pulumi/crossguard"


@dataclass(frozen=True, slots=True)
class MetaPolicy:
    """A policy about rules and exemptions instead of resources."""

    id: str
    title: str
    remedy: str
    severity: Severity
    levels: Levels
    url: str = _DOCS


BROKEN = MetaPolicy(
    id="GH-BROKEN",
    title="Rules run without errors",
    remedy="fix the rule in policies/rules; the resource is not evaluated until then",
    severity=Severity.HIGH,
    levels=levels("M", "M", "M"),
)
REMEDIATED = MetaPolicy(
    id="GH-REMEDIATED",
    title="Remediations are reported",
    remedy="set the value in the program",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)
EXEMPTION_USED = MetaPolicy(
    id="GH-EXEMPT-USED",
    title="Exemptions in use are reported",
    remedy="remove the entry from the exemptions file",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)
EXEMPTION_INVALID = MetaPolicy(
    id="GH-EXEMPT-INVALID",
    title="Exemptions are valid",
    remedy="correct the entry in the exemptions file",
    severity=Severity.HIGH,
    levels=levels("M", "M", "M"),
)
UNDECIDED = MetaPolicy(
    id="GH-UNDECIDED",
    title="Every rule is decided at preview",
    remedy="use a value that is known at preview",
    severity=Severity.MEDIUM,
    levels=levels("A", "A", "M"),
)
UNDECIDED_ALLOWED = MetaPolicy(
    id="GH-UNDECIDED-ALLOWED",
    title="Accepted unknown properties are reported",
    remedy="no action required: the engine evaluates the rule again with the value before it creates the resource",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)

META_POLICIES = (BROKEN, REMEDIATED, EXEMPTION_USED, EXEMPTION_INVALID, UNDECIDED, UNDECIDED_ALLOWED)
