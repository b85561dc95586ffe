"""docs/policies.md: every rule of the policy packs, from the catalogue that the packs are made of."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

from policies.catalogue import _MODULES, COMPANIONS, PACKS, RULES, Companion
from policies.engine.remediation import REMEDIES
from policies.engine.rule import ENVIRONMENTS, Level, Rule, Severity, Upstream
from tools.docs.markdown import prose, table

SERVICES = {
    "account": "The account and its bill",
    "acm": "Certificates (ACM)",
    "apigateway": "API Gateway",
    "backup": "Backups (AWS Backup)",
    "sns": "Topics (SNS)",
    "alb": "Load balancers (ALB)",
    "cloudtrail": "CloudTrail",
    "cloudwatch": "CloudWatch",
    "dynamodb": "DynamoDB",
    "ecr": "Image repositories (ECR)",
    "ecs": "Containers (ECS)",
    "elasticache": "ElastiCache",
    "iam": "Identities (IAM)",
    "kms": "Keys (KMS)",
    "lambda_functions": "Lambda",
    "program": "The Pulumi program",
    "rds": "Databases (RDS)",
    "s3": "Buckets (S3)",
    "secretsmanager": "Secrets Manager",
    "vpc": "Networks (VPC)",
    "waf": "Web firewalls (WAF)",
}
UPSTREAM = {
    "security_hub": "Security Hub",
    "cis": "CIS AWS Foundations",
    "checkov": "Checkov",
    "prowler": "Prowler",
    "cdk_nag": "cdk-nag",
}
HEAD = """# Rules of the policy packs

The two packs look at every resource before it is made, at `pulumi preview`, `pulumi up` and `python -m sandbox check`. A rule is
**mandatory** (a violation stops the deployment), **advisory** (it is shown) or **disabled**, and that depends on the environment:
see the levels of [security](../policies/security/levels) and [resilience](../policies/resilience/levels).
"""
ANSWERS = """## What a rule answers

| answer | meaning |
| --- | --- |
| pass | The resource has what the rule asks for. |
| violation | It has not. The message says what is wrong, then `Fix:` and what to type. |
| undecided | A property that the rule must read is not known yet, as many are at a first preview. This never counts as a pass. |
| broken | The rule itself failed. The resource is not judged, and the deployment stops. |

Each pack reports what is neither pass nor violation by companion policies, which speak after all rules:
"""
UNDECIDED = """\
`GH-UNDECIDED` names rule, resource and property; in prod it stops the deployment, so that nothing is made there that no rule has
judged. A rule may declare a property that becomes known only while AWS makes other resources: then `GH-UNDECIDED-ALLOWED` shows
it, and the engine asks the rule again, with the value, before it makes the resource.

An entry in [policies/exemptions.toml](../policies/exemptions.toml) lifts a rule from a resource for at most 90 days, with owner,
reason and ticket. Rules marked "never exempted" refuse that.

Some rules can change the input themselves. That is off everywhere; `python -m policies remediate security dev` prints levels for
dev at which they do, for `--policy-pack-config`. Such a rule changes inputs of that one resource, only when it passes afterwards,
and `GH-REMEDIATED` names each change, so that it comes into the program.
"""


def services() -> Iterator[tuple[str, ModuleType, tuple[Rule, ...]]]:
    """Title, module and rules of each service, in the order of the titles."""
    for module in sorted(_MODULES, key=lambda one: SERVICES[_short(one)].lower()):
        ids = {value.id for value in vars(module).values() if isinstance(value, Rule)}
        mine = [rule for rule in RULES if rule.id in ids]
        yield SERVICES[_short(module)], module, tuple(mine)


def page() -> str:
    """The whole text of docs/policies.md."""
    companions = ((f"`{one.id}`", one.title, one.severity.value, *_levels(one), prose(one.remedy)) for one in COMPANIONS)
    parts = [
        HEAD,
        _counts(),
        ANSWERS,
        table(("companion", "what it stands for", "severity", *ENVIRONMENTS, "what to do"), companions) + "\n",
        UNDECIDED,
    ]
    for title, module, rules in services():
        parts += [f"## {title}\n\n{prose(inspect.getdoc(module) or '')}\n", _overview(rules), *map(_details, rules)]
    return "\n".join(parts)


def _counts() -> str:
    packs = ((f"`{name}`", str(sum(rule.pack == pack for rule in RULES))) for pack, name in PACKS.items())
    by_severity = Counter(rule.severity for rule in RULES)
    severities = ", ".join(f"{by_severity[one]} {one.value}" for one in reversed(Severity))
    levels = ((level.value, *(_at(level, env) for env in ENVIRONMENTS)) for level in Level)
    links = ((f"[{title}](#{_anchor(title)})", str(len(rules))) for title, _, rules in services())
    return "\n".join(
        (
            f"{len(RULES)} rules: {severities}.\n",
            table(("pack", "rules"), packs) + "\n",
            table(("rules that are", *ENVIRONMENTS), levels) + "\n",
            table(("service", "rules"), links) + "\n",
        )
    )


def _at(level: Level, environment: str) -> str:
    return str(sum(rule.levels[environment] is level for rule in RULES))


def _overview(rules: tuple[Rule, ...]) -> str:
    rows = ((f"[{one.id}](#{one.id.lower()})", prose(one.title), one.severity.value, one.pack, *_levels(one)) for one in rules)
    return table(("id", "rule", "severity", "pack", *ENVIRONMENTS), rows) + "\n"


def _details(rule: Rule) -> str:
    notes = [f"**{prose(rule.title)}.** {prose(rule.why)}", f"- Fix: {prose(rule.remedy)}"]
    for name, values in rule.settings.items():
        notes.append(f"- Bound: `{name}` is " + ", ".join(f"{values[env]:g} in {env}" for env in ENVIRONMENTS))
    for name, words in rule.lists.items():
        notes.append(f"- List: `{name}` is " + (", ".join(f"`{word}`" for word in words) or "empty"))
    if rule.id in REMEDIES:
        notes.append("- Can change the input itself, in dev, when it is asked to")
    notes += [f"- May stay unknown at a preview: `{path}`, for {prose(reason)}" for path, reason in rule.unknown_allowed.items()]
    if not rule.exemptible:
        notes.append("- Never exempted")
    elsewhere = "; ".join(_elsewhere(rule.upstream))
    notes.append(f"- Elsewhere: {elsewhere}" if elsewhere else "- Elsewhere: none")
    first, *rest = [*notes, f"- Source: <{rule.url}>"]
    return f"### {rule.id}\n\n{first}\n\n" + "\n".join(rest) + "\n"


def _levels(one: Rule | Companion) -> Iterator[str]:
    yield from (one.levels[environment].value for environment in ENVIRONMENTS)


def _elsewhere(upstream: Upstream) -> Iterator[str]:
    for name, title in UPSTREAM.items():
        if ids := getattr(upstream, name):
            yield f"{title} {', '.join(ids)}"


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -").replace(" ", "-")
