"""The table of controls (docs/policies.md) and their full descriptions (.gatehouse/docs/policies.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from policies.catalogue import PACKS, RULES
from policies.engine.meta_policies import META_POLICIES
from policies.engine.rule import ENVIRONMENTS, Control, Rule, Severity, upstream_ids
from tools.docs.markdown import prose, table

HEAD = """# Controls of the policy packs

Both packs evaluate every resource before it is created: during `pulumi preview`, `pulumi up` and `make check`. The level of a
control depends on the environment: a violation of a **mandatory** control stops the deployment, a violation of an **advisory**
control is reported, a **disabled** control is not evaluated. [guides/policies.md](guides/policies.md) explains how to change
levels and how to add an exemption.

`make docs` writes the rationale, remediation, parameters and upstream ids of each control to `.gatehouse/docs/policies.md`. A
violation prints its remediation.
"""
OUTCOMES = """## Outcomes

| outcome | meaning |
| --- | --- |
| pass | The resource complies with the control. |
| violation | The resource does not comply. The message names the resource, the property and the fix. |
| undecided | A property that the control reads is unknown during the preview. It is not counted as passed. |
| broken | The control raised an error. The resource was not evaluated and the deployment stops. |

Meta policies report everything that is neither pass nor violation:
"""


def page() -> str:
    """One table of all controls."""
    by_severity = Counter(rule.severity for rule in RULES)
    severities = ", ".join(f"{by_severity[severity]} {severity.value}" for severity in reversed(Severity))
    meta = ((f"`{policy.id}`", prose(policy.title), policy.severity.value, *_levels(policy)) for policy in META_POLICIES)
    rows = ((f"`{rule.id}`", prose(rule.title), rule.severity.value, rule.pack, *_levels(rule)) for rule in RULES)
    return "\n".join(
        [
            HEAD,
            OUTCOMES,
            table(("meta policy", "title", "severity", *ENVIRONMENTS), meta),
            f"\n## Controls\n\n{len(RULES)} controls: {severities}.\n",
            table(("id", "title", "severity", "pack", *ENVIRONMENTS), rows) + "\n",
        ]
    )


def full_page() -> str:
    """Every control with its rationale, remediation, parameters and upstream ids."""
    packs = ", ".join(f"`{name}`" for name in PACKS.values())
    return f"# Controls in full\n\nPacks: {packs}.\n\n" + "\n".join(_section(rule) for rule in RULES)


def _section(rule: Rule) -> str:
    levels = ", ".join(f"{level} in {env}" for env, level in zip(ENVIRONMENTS, _levels(rule), strict=True))
    notes = [
        f"- Severity: {rule.severity.value}; {levels}",
        f"- Remediation: {prose(rule.remedy)}",
        *(
            f"- Parameter `{name}`: {', '.join(f'{values[env]:g} in {env}' for env in ENVIRONMENTS)}"
            for name, values in rule.settings.items()
        ),
        *(f"- List `{name}`: {', '.join(f'`{word}`' for word in words) or 'empty'}" for name, words in rule.lists.items()),
        *(f"- May be unknown during a preview: `{path}` ({prose(reason)})" for path, reason in rule.unknown_allowed.items()),
    ]
    if rule.remediation:
        notes.append("- Supports automatic remediation")
    if not rule.exemptible:
        notes.append("- Exemptions are not accepted")
    upstream = (f"{catalogue} {', '.join(ids)}" for catalogue, ids in upstream_ids(rule.upstream).items() if ids)
    notes += [f"- Upstream: {'; '.join(upstream) or 'none'}", f"- Source: <{rule.url}>"]
    return f"## {rule.id}: {prose(rule.title)}\n\n{prose(rule.rationale)}\n\n" + "\n".join(notes) + "\n"


def _levels(policy: Control) -> Iterator[str]:
    yield from (policy.levels[environment].value for environment in ENVIRONMENTS)
