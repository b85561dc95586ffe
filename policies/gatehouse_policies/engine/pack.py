"""Converts rules to Pulumi policies and adds the meta policies."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pulumi_local.type_tokens import STACK
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
)

from gatehouse_policies.analysis.properties import Properties, plain
from gatehouse_policies.analysis.resources import Resource, Stack, identifiers_of
from gatehouse_policies.engine import applicable_policies, environment, meta_policies
from gatehouse_policies.engine.applicable_policies import ApplicablePolicies, StackPolicy, cached
from gatehouse_policies.engine.deployment_state import DeploymentState, Report, Result
from gatehouse_policies.engine.exemptions import Exemptions, load
from gatehouse_policies.engine.rule import Control, Rule


def guarded(
    rules: Sequence[Rule],
    catalogue: Iterable[Rule] = (),
    exemptions: Path | None = None,
    stack_environment: str = "",
) -> list[Policy]:
    """One policy for each rule, followed by the meta policies, which must come last.

    Without a pack configuration, each rule has the level and settings for the stack's environment.

    catalogue: the rules of all packs, set only for the pack that reports exemptions from unknown
        controls.
    exemptions: TOML file with [[exemption]] entries.
    stack_environment: the environment whose levels apply, by default that of the stack.

    Environment variables: `GATEHOUSE_EXEMPTIONS` is the path of a file that replaces `exemptions`.
    With `GATEHOUSE_IGNORE_EXEMPTIONS=1`, exemptions are ignored, for an audit.
    """
    applicable_policies.install()
    stack_environment = stack_environment or environment.of_process()
    own = frozenset(rule.id for rule in rules)
    everywhere = {rule.id: rule.exemptible for rule in catalogue}
    exemptible = everywhere | {rule.id: rule.exemptible for rule in rules}
    state = DeploymentState(_exemptions(exemptions, exemptible))
    policies = [
        _resource_policy(rule, state, stack_environment)
        for rule in rules
        if rule.scope == "resource"
    ]
    stack_of = partial(_stack, state)
    policies += [
        _stack_policy(rule, state, stack_of, stack_environment)
        for rule in rules
        if rule.scope == "stack"
    ]
    policies += _MetaPolicies(
        state,
        own,
        lambda control: control in own or (bool(everywhere) and control not in everywhere),
    ).policies(stack_environment)
    return ApplicablePolicies(
        policies,
        {rule.id: rule.types for rule in rules},
        state.record_inputs,
        state.severities,
        state.write_facts,
    )


def _exemptions(file: Path | None, exemptible: Mapping[str, bool]) -> Exemptions:
    other = os.environ.get("GATEHOUSE_EXEMPTIONS")
    file = Path(other) if other else file
    if file is None or os.environ.get("GATEHOUSE_IGNORE_EXEMPTIONS") == "1":
        return Exemptions()
    return load(file, datetime.now(UTC).date(), exemptible)


def _resource_policy(rule: Rule, state: DeploymentState, env: str) -> Policy:
    def validate(args: ResourceValidationArgs, report: Report) -> None:
        state.record_inputs(args.urn, args.props)
        if args.resource_type in rule.types or not rule.types:
            resource = _resource(
                args, plain(args.props), **_parameters(rule, args.get_config(), env)
            )
            state.decide(rule, resource, Stack([resource]), report)

    return ResourceValidationPolicy(validate=validate, **_metadata(rule, env))


def _stack_policy(
    rule: Rule, state: DeploymentState, stack_of: Callable[[list[PolicyResource]], Stack], env: str
) -> Policy:
    def validate(args: StackValidationArgs, report: Report) -> None:
        if rule.types and not any(each.resource_type in rule.types for each in args.resources):
            return  # Decoding all resources is expensive, and most programs do not use most types.
        stack = cached(stack_of, args.resources)
        parameters = _parameters(rule, args.get_config(), env)
        for resource in stack.of_type(rule.types) if rule.types else stack:
            if resource.managed:
                subject = replace(resource, **parameters)
                state.decide(rule, subject, stack, report)

    return StackPolicy(validate=validate, **_metadata(rule, env))


def _stack(state: DeploymentState, resources: Iterable[PolicyResource]) -> Stack:
    return Stack(_stack_resource(resource, state) for resource in resources)


def _stack_resource(source: PolicyResource, state: DeploymentState) -> Resource:
    properties = plain(source.props)
    return _resource(
        source,
        # The properties of the stack resource are the program's outputs, all of which are computed.
        properties
        if source.resource_type == STACK
        else state.program_inputs(source.urn, properties),
        identifiers=identifiers_of(properties),
        managed=source.resource_type == STACK or state.is_managed(source.urn),
        parent=source.parent.urn if source.parent else "",
        property_dependencies={
            name: tuple(peer.urn for peer in peers)
            for name, peers in source.property_dependencies.items()
        },
        dependencies=tuple(peer.urn for peer in source.dependencies),
    )


def _resource(
    source: ResourceValidationArgs | PolicyResource, properties: dict[str, Any], **fields: Any
) -> Resource:
    return Resource(
        urn=source.urn,
        type=source.resource_type,
        name=source.name,
        props=Properties(properties),
        protect=source.opts.protect,
        ignored=frozenset(source.opts.ignore_changes),
        provider=Properties(cached(plain, source.provider.props), "provider")
        if source.provider
        else None,
        **fields,
    )


def _parameters(rule: Rule, config: Mapping[str, Any], env: str) -> dict[str, Any]:
    """The settings and lists of a rule, from its declaration and the pack configuration."""
    settings = rule.defaults(env)
    settings |= {name: float(value) for name, value in config.items() if name in settings}
    lists = dict(rule.lists)
    lists |= {name: tuple(map(str, value)) for name, value in config.items() if name in lists}
    return {"settings": settings, "lists": lists}


def _metadata(control: Control, env: str) -> dict[str, Any]:
    schema: dict[str, Any] = {
        name: {"type": "number", "minimum": 0, "default": values[env]}
        for name, values in control.settings.items()
    }
    schema |= {
        name: {"type": "array", "items": {"type": "string"}, "default": list(values)}
        for name, values in control.lists.items()
    }
    return {
        "name": control.id,
        "description": control.title,
        "display_name": control.title,
        "enforcement_level": EnforcementLevel(control.level(env).value),
        "config_schema": PolicyConfigSchema(schema) if schema else None,
        "severity": Severity(control.severity),
        "tags": control.upstream_ids(),
        "remediation_steps": control.remedy,
        "url": control.url,
    }


@dataclass(frozen=True)
class _MetaPolicies:
    """Reports what the results of the rules say about a deployment as a whole.

    own: controls of this pack. reports: returns True for a control whose invalid exemptions this
    pack reports.
    """

    state: DeploymentState
    own: frozenset[str]
    reports: Callable[[str], bool]

    def policies(self, env: str) -> list[Policy]:
        reporters = (
            (meta_policies.BROKEN, self.broken),
            (meta_policies.EXEMPTION_USED, self.exempted),
            (meta_policies.EXEMPTION_INVALID, self.invalid),
            (meta_policies.UNDECIDED, partial(self.unknown, False)),
            (meta_policies.UNDECIDED_ALLOWED, partial(self.unknown, True)),
        )
        return [StackPolicy(validate=report, **_metadata(rule, env)) for rule, report in reporters]

    def unknown(self, accepted: bool, args: StackValidationArgs, report: Report) -> None:
        """Reports unknown properties, with the rules that need them. What is unknown for the whole
        program is reported once, for the stack.
        """
        program = next((each.urn for each in args.resources if each.resource_type == STACK), "")
        rules: dict[tuple[str, str, str], list[str]] = {}
        needing: dict[tuple[str, str], list[str]] = {}
        for result in self._results(args):
            undecided = ((path, "") for path in result.decision.undecided)
            paths = result.decision.allowed if accepted else undecided
            for path, reason in paths if result.exemption is None else ():
                if program and path in meta_policies.OF_PROGRAM:
                    if not result.decision.violations:
                        needing.setdefault((path, result.rule), []).append(result.urn)
                else:
                    rules.setdefault((result.urn, path, reason), []).append(result.rule)
        for (path, rule), urns in needing.items():
            number = f"{len(urns)} resource{'' if len(urns) == 1 else 's'}"
            rules.setdefault((program, path, f"which {number} need"), []).append(rule)
        for (urn, path, reason), ids in rules.items():
            subject = f"{', '.join(sorted(ids))} could not be decided for {urn}: {path} is unknown"
            remedy = meta_policies.OF_PROGRAM.get(path, meta_policies.UNDECIDED.remedy)
            accepting = f", which is accepted: {reason}"
            outcome = accepting if accepted else f"{reason and ', '}{reason}. Fix: {remedy}"
            report(f"{subject}{outcome}", urn)

    def broken(self, args: StackValidationArgs, report: Report) -> None:
        for result in self._results(args):
            if error := result.decision.broken:
                text = f"rule {result.rule} raised {error} on {result.urn}"
                report(f"{text}. Fix: {meta_policies.BROKEN.remedy}", result.urn)

    def exempted(self, args: StackValidationArgs, report: Report) -> None:
        """Reports the exemptions that resources use, and those of this pack that none uses."""
        used = set()
        for result in self._results(args):
            if entry := result.exemption:
                used.add(entry.number)
                expiry = f"until {entry.expires} by {entry.owner} ({entry.ticket})"
                text = f"{result.rule} is exempted for {result.urn} {expiry}: {entry.reason}"
                report(text, result.urn)
        any_urn = args.resources[0].urn if args.resources else ""
        for entry in self.state.exemptions.active:
            unused = entry.control in self.own and entry.number not in used
            if unused and entry.applies_to_stack(any_urn):
                subject = f"exemption {entry.number} ({entry.control}, {entry.ticket})"
                remedy = meta_policies.UNUSED_REMEDY
                report(f"{subject} is not used by any resource. Fix: {remedy}", None)

    def invalid(self, args: StackValidationArgs, report: Report) -> None:
        for control, error in self.state.exemptions.errors:
            if self.reports(control):
                report(error, None)

    def _results(self, args: StackValidationArgs) -> list[Result]:
        return self.state.results({resource.urn for resource in args.resources})
