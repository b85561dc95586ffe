"""The table of controls (docs/policies.md) and their full descriptions
(.gatehouse/docs/policies.md).
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from gatehouse_policies.catalogue import PACKS, RULES
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import ENVIRONMENTS, Control, Rule, Severity, upstream_ids

from tools.docs import markdown
from tools.docs.markdown import prose, table


def page() -> str:
    """One table of the controls of each pack."""
    by_severity = Counter(rule.severity for rule in RULES)
    severities = ", ".join(
        f"{by_severity[severity]} {severity.value}" for severity in reversed(Severity)
    )
    tables = (
        f"## Pack `{name}`\n\n{_table([rule for rule in RULES if rule.pack == name])}"
        for name in PACKS
    )
    return markdown.page(
        "policies",
        meta_policies=_table(META_POLICIES),
        count=len(RULES),
        severities=severities,
        controls="\n\n".join(tables),
    )


def _table(controls: Iterable[Control]) -> str:
    """ID, title, severity, and the first letter of each level."""
    rows = (
        (
            f"`{control.id}`",
            prose(control.title),
            control.severity.value,
            "/".join(level[0] for level in _levels(control)),
        )
        for control in controls
    )
    return table(("ID", "title", "severity", "levels"), rows)


def full_page() -> str:
    """Every control with its rationale, remediation, parameters and upstream IDs."""
    packs = ", ".join(f"`{name}`" for name in PACKS.values())
    return f"# Controls in full\n\nPacks: {packs}.\n\n" + "\n".join(
        _section(rule) for rule in RULES
    )


def _section(rule: Rule) -> str:
    levels = ", ".join(
        f"{level} in {env}" for env, level in zip(ENVIRONMENTS, _levels(rule), strict=True)
    )
    notes = [
        f"- Severity: {rule.severity.value}; {levels}",
        f"- Remediation: {prose(rule.remedy)}",
        *(
            (
                f"- Parameter `{name}`: "
                f"{', '.join(f'{values[env]:g} in {env}' for env in ENVIRONMENTS)}"
            )
            for name, values in rule.settings.items()
        ),
        *(
            f"- List `{name}`: {', '.join(f'`{word}`' for word in words) or 'empty'}"
            for name, words in rule.lists.items()
        ),
        *(
            f"- May be unknown during a preview: `{path}` ({prose(reason)})"
            for path, reason in rule.unknown_allowed.items()
        ),
    ]
    if rule.remediation:
        notes.append("- Supports automatic remediation")
    if not rule.exemptible:
        notes.append("- Exemptions are not accepted")
    upstream = (
        f"{catalogue} {', '.join(ids)}"
        for catalogue, ids in upstream_ids(rule.upstream).items()
        if ids
    )
    notes += [f"- Upstream: {'; '.join(upstream) or 'none'}", f"- Source: <{rule.url}>"]
    return (
        f"## {rule.id}: {prose(rule.title)}\n\n{prose(rule.rationale)}\n\n"
        + "\n".join(notes)
        + "\n"
    )


def _levels(policy: Control) -> Iterator[str]:
    yield from (policy.levels[environment].value for environment in ENVIRONMENTS)
