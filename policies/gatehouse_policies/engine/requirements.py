"""Requirements on properties, for rules without a check function (`resource_rule(...).requires` and
`stack_rule(...).requires`).

A path may refer to a property in a nested block, such as "accessLogs.enabled", or in each element
of a list, such as "rules[].status". The list may be JSON text, such as ECS container definitions.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from pulumi_local.lists import leaves, name_set
from pulumi_local.type_tokens import aws, class_name

from gatehouse_policies.analysis.policy_holders import (
    is_of_program,
    own_documents,
    public_or_foreign_access,
)
from gatehouse_policies.analysis.properties import Properties, is_unknown
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import (
    ENVIRONMENT,
    is_placeholder,
    is_secret_input,
    looks_secret,
)
from gatehouse_policies.analysis.token_formats import has_secret_format
from gatehouse_policies.engine.guard import check_each
from gatehouse_policies.engine.rule import (
    CheckResults,
    Requirement,
    Undecided,
    Violation,
    joined_remedies,
)


def satisfies(
    path: str, holds: Callable[[Properties, str], bool], message: str, remedy: str
) -> Requirement:
    """A condition on the property. holds: receives the block and the name of the property. message:
    the predicate, such as "is not true", of a message whose subject is the property.
    """

    def check(block: Properties, key: str, _resource: Resource) -> CheckResults:
        if not holds(block, key):
            yield f"{block.path_of(key)} {message}"

    return Requirement(_at(path, check), remedy)


def is_true(path: str) -> Requirement:
    return satisfies(path, lambda block, key: block.flag(key), "is not true", f"set {path}=True")


def is_not_false(path: str) -> Requirement:
    """The property is true or absent, for properties that are true by default."""
    return satisfies(
        path, lambda block, key: block.flag(key, True), "is false", f"remove {path}=False"
    )


def is_not_true(path: str) -> Requirement:
    return satisfies(path, lambda block, key: not block.flag(key), "is true", f"remove {path}=True")


def is_false(path: str) -> Requirement:
    """The property is set to false, for properties that are true by default."""
    return satisfies(
        path, lambda block, key: not block.flag(key, True), "is not false", f"set {path}=False"
    )


def is_set(path: str, effect: str = "") -> Requirement:
    """The property is set. effect: the behavior if the property is not set, such as "an AWS managed
    key is used".
    """
    message = f"is not set, so {effect}" if effect else "is not set"
    return satisfies(path, lambda block, key: block.has(key), message, f"set {path}")


def is_customer_key(path: str) -> Requirement:
    return satisfies(
        path,
        Properties.is_customer_key,
        "is not set to a customer managed key, so an AWS managed key is used",
        f"set {path}",
    )


def names_own_group(path: str) -> Requirement:
    """The property names a group other than the default of the account, such as
    default.redshift-2.0.
    """
    return satisfies(
        path,
        lambda block, key: (
            block.has(key) and not block.known_text(key).lower().startswith("default")
        ),
        "is not set, or is the default group",
        f"set {path} to a group of the program",
    )


def is_not_set(path: str) -> Requirement:
    return satisfies(
        path, lambda block, key: not block.has(key), "is set by the program", f"remove {path}"
    )


# Blocks and maps of pulumi-aws that contain secrets at any depth.
# tests/policies/test_catalogue.py compares them with the schema.
SECRET_BLOCKS = name_set(
    "AppAuthorization.credential DataSource.credentials "
    "VoiceConnectorTerminationCredentials.credentials actions activeDirectoryConfiguration "
    "advancedSecurityOptions airflowConfigurationOptions amplitude athenaProperties "
    "atlassianOauth2ProviderConfig authParameters authenticateOidc authenticationConfiguration "
    "authenticationMode autoBranchCreationConfig backendDefaults backends basic clientParameters "
    "clientPolicy configuration connectionProperties connectorConfiguration "
    "connectorProfileConfig credentialPair credentialsMap customConnector "
    "customOauth2ProviderConfig datadog defaultActions dkimSigningAttributes dynatrace "
    "encoderSettings file githubOauth2ProviderConfig googleAnalytics googleOauth2ProviderConfig "
    "hlsAkamaiSettings hlsCdnSettings hlsGroupSettings honeycode httpEndpointConfiguration "
    "httpsNotificationConfiguration includedOauth2ProviderConfig inforNexus ingestEndpoints "
    "ingressPointConfiguration kafkaSettings kerberosAttributes ldapServerMetadata "
    "linkedinOauth2ProviderConfig listeners marketo masterUserOptions "
    "microsoftOauth2ProviderConfig nativeApplicationOidcOptions oauth oauth2 oauth2Properties "
    "oauth2ProviderConfig oidcConfig oidcOptions oracleSettings outputGroupSettings outputGroups "
    "protocol providerDetails redisSettings redshift redshiftConfiguration salesforce "
    "salesforceOauth2ProviderConfig sapoData sasConfiguration selfManagedActiveDirectory "
    "selfManagedActiveDirectoryConfiguration serviceNow singular slack slackOauth2ProviderConfig "
    "smb smbActiveDirectorySettings snowflake snowflakeConfiguration sourceControlDetails spec "
    "splunkConfiguration tls tls.certificate trendmicro users veeva virtualService zendesk"
)
# Environments (GH-SM-008), references to secrets, durations and mappings.
_NO_SECRETS = re.compile(
    rf"(^|\.)({ENVIRONMENT.pattern}|tags)[.[]|secrets\b|validity|responseparameters", re.IGNORECASE
)


def sets_no_secret() -> Requirement:
    """The program sets no input that is a secret, such as a password, at any depth."""

    def check(resource: Resource, _stack: Stack) -> CheckResults:
        props = resource.props
        for prop in props.names():
            for path, value in leaves(props.plain()[prop], prop):
                if not isinstance(value, str) or _NO_SECRETS.search(path):
                    continue
                if prop in resource.ignored and is_placeholder(value):
                    continue
                location = f"{resource.type.rpartition(':')[2]}.{path}"
                *_, parent, name = re.sub(r"\[\d+\]", "", location).split(".")
                qualified = f"{parent}.{name}"
                if location.endswith((".value", ".access.key")):
                    name = qualified
                if _is_secret(name, value) or _is_token(value):
                    yield f"{path} is set by the program"
                elif is_unknown(value) and {name, qualified} & SECRET_BLOCKS:
                    yield Undecided(path)

    return Requirement(check, "remove the value")


def _is_secret(name: str, value: str) -> bool:
    is_password = "password" in name.lower() and value[:2] not in ("", "${", "{{")
    return is_secret_input(name) and (is_password or is_unknown(value) or looks_secret(name, value))


def _is_token(value: str) -> bool:
    """True for one word in the format of a token, or a URL with a password, under any name."""
    return re.fullmatch(r"[^\s{[]\S*", value) is not None and has_secret_format(value)


def is_not(path: str, *values: str, default: str = "") -> Requirement:
    """The property has none of these values. default: value of an absent property. A number in a
    program is compared as text.
    """
    _require_strings("is_not", path, *values, default)
    return satisfies(
        path,
        lambda block, key: block.text(key, default).lower() not in values,
        f"is {' or '.join(values)}",
        f"set {path} to another value" if default else f"remove {path}",
    )


def is_exactly(path: str, *values: str, default: str = "", message: str = "") -> Requirement:
    """The property has one of these values. default: value of an absent property. A number in a
    program is compared as text.
    """
    _require_strings("is_exactly", path, *values, default)
    remedy = f'set {path}="{values[0]}"'
    return satisfies(
        path,
        lambda block, key: block.text(key, default) in values,
        message or f"is not {' or '.join(values)}",
        f"{remedy}, or remove it" if default in values else remedy,
    )


def has_format(path: str, pattern: str, *, example: str, message: str) -> Requirement:
    return satisfies(
        path,
        lambda block, key: re.fullmatch(pattern, block.text(key)) is not None,
        message,
        f'set {path}="{example}"',
    )


def is_at_least(path: str, bound: str | int, default: float = 0) -> Requirement:
    """The property is a number that is not less than the bound: a number, or a parameter of the
    rule. default: value of an absent property.
    """
    return _compared(path, bound, "below", lambda value, bound: value < bound, default)


def is_at_most(path: str, bound: str | int, default: float = 0) -> Requirement:
    """The property is a number that is not greater than the bound: a number, or a parameter of the
    rule. default: value of an absent property.
    """
    return _compared(path, bound, "above", lambda value, bound: value > bound, default)


def has_elements(path: str) -> Requirement:
    return satisfies(
        path, lambda block, key: block.size(key) > 0, "is empty", f"add an element to {path}"
    )


def contains(path: str, *values: str) -> Requirement:
    """The property is a list with these values."""
    _require_strings("contains", path, *values)

    def check(block: Properties, key: str, _resource: Resource) -> CheckResults:
        elements = block.texts(key)
        if missing := [value for value in values if value not in elements]:
            yield f"{block.path_of(key)} does not contain {', '.join(missing)}"

    return Requirement(_at(path, check), f"add {', '.join(values)} to {path}")


def allows_known_accounts(prop: str, subject: str) -> Requirement:
    """The resource policy in a property, if it is set, allows neither everyone nor an unknown
    account. The rule has the parameter `ACCOUNTS`.

    subject: the policy in messages, such as "the queue policy".
    """

    def check(resource: Resource, _stack: Stack) -> CheckResults:
        for document in own_documents(resource, prop):
            yield from public_or_foreign_access(document, resource, subject)

    return Requirement(
        check, "name the principals, or add a condition on their account or organization"
    )


def uses_customer_key(key_path: str, enabled: str) -> Requirement:
    """Encryption is enabled and uses a customer managed key. enabled: path of the flag."""
    return in_order(is_true(enabled), is_customer_key(key_path))


def in_order(*requirements: Requirement) -> Requirement:
    """Only the first requirement that is not met is reported, because the others depend on it."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for requirement in requirements:
            if results := tuple(requirement.check(resource, stack)):
                yield from results
                return

    return Requirement(check, joined_remedies(requirements))


def with_severity(severity: str, *requirements: Requirement) -> Requirement:
    """The requirements with another severity than that of the rule."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for requirement in requirements:
            for result in requirement.violations(resource, stack):
                if isinstance(result, Violation):
                    result = replace(result, severity=severity)
                yield result

    return Requirement(check, joined_remedies(requirements))


def any_of(*requirements: Requirement, message: str) -> Requirement:
    """At least one of the requirements is met. message: the message if none is met."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        if all(any(requirement.check(resource, stack)) for requirement in requirements):
            yield message

    return Requirement(check, " or ".join(requirement.remedy for requirement in requirements))


def where(applies: Callable[[Resource], bool], *requirements: Requirement) -> Requirement:

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for requirement in requirements if applies(resource) else ():
            yield from requirement.violations(resource, stack)

    return Requirement(check, joined_remedies(requirements))


def for_types(types: tuple[str, ...], *requirements: Requirement) -> Requirement:
    return where(lambda resource: resource.type in types, *requirements)


def has_resource(
    resource_class: str,
    prop: str,
    *requirements: Requirement,
    missing: str | Violation | None,
    owner: str = "",
) -> Requirement:
    """Another resource refers to the resource, and meets the requirements. For stack rules.

    resource_class: class of the other resource, such as "s3.BucketPolicy".
    prop: its property that refers to the resource.
    missing: the message if no other resource refers to the resource. None if that is compliant.
    owner: class of the resource, if the rule also evaluates the other resource, which can refer to
        a resource that the program does not manage.
    """

    def check(resource: Resource, stack: Stack) -> CheckResults:
        if resource.type in aws(resource_class):
            if not is_of_program(resource, stack, prop, aws(owner)):
                for requirement in requirements:
                    yield from requirement.violations(resource, stack)
            return
        others = stack.referencing(resource, aws(resource_class), prop)
        if not others and missing is not None:
            absent = Violation(missing) if isinstance(missing, str) else missing
            yield replace(absent, remedy=absent.remedy or joined_remedies((added, *settings)))
        for other in others:
            subject = replace(other, settings=resource.settings, lists=resource.lists)
            for requirement in requirements:
                for result in requirement.violations(subject, stack):
                    yield _of_other(result, other)

    added = Requirement(check, f"add an aws.{resource_class}")
    settings = [each for each in requirements if not each.remedy.startswith("remove ")]
    return replace(added, remedy=joined_remedies((added, *requirements)))


def _of_other(result: str | Violation | Undecided, other: Resource) -> str | Violation | Undecided:
    """The result for the resource to which another resource refers."""
    if not isinstance(result, Violation):
        return result
    remedy = f"{result.remedy} in the {class_name(other.type)}"
    return replace(result, message=f"{result.message} in {other.name}", remedy=remedy)


def _require_strings(function: str, path: str, *values: object) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(
                f'{function}("{path}", ...): {value!r} is not a string. Write a number as text, '
                'such as "1", and use is_true or is_false for true and false.'
            )


def _compared(
    path: str,
    bound: str | int,
    relation: Literal["below", "above"],
    violates: Callable[[float, float], bool],
    default: float,
) -> Requirement:
    kind, adverb = ("minimum", "least") if relation == "below" else ("maximum", "most")
    limit = f"the {kind} for this environment" if isinstance(bound, str) else str(bound)

    def check(block: Properties, key: str, resource: Resource) -> CheckResults:
        number = resource.settings[bound] if isinstance(bound, str) else bound
        if violates(block.number(key, default), number):
            yield f"{block.path_of(key)} is {relation} {number:g}"

    return Requirement(_at(path, check), f"set {path} to at {adverb} {limit}")


def _at(
    path: str, check: Callable[[Properties, str, Resource], CheckResults]
) -> Callable[[Resource, Stack], CheckResults]:
    """A check of the property at a path, or of the properties at a path with lists."""

    def descend(block: Properties, path: str, resource: Resource) -> CheckResults:
        name, _, rest = path.partition(".")
        if not rest:
            yield from check(block, name, resource)
        elif name.endswith("[]"):
            elements = block.json_blocks(name.removesuffix("[]"))
            yield from check_each(elements, lambda element: descend(element, rest, resource))
        else:
            yield from descend(block.block(name), rest, resource)

    return lambda resource, _stack: descend(resource.props, path, resource)
