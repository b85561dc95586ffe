"""The inputs of pulumi-aws, and the table policies/gatehouse_policies/inputs.json of those that
rules evaluate: `python -m tests.policies.provider_inputs` writes it after a review.
"""

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pulumi_aws
from gatehouse_policies import catalogue
from gatehouse_policies.analysis import settings
from gatehouse_policies.analysis.properties import Properties, recorded_reads
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import Decision, evaluate
from gatehouse_policies.engine.rule import Requirement, Rule
from pulumi_local.schema import camel
from pulumi_local.type_tokens import aws

DEPTH = 6
"""Nested objects, which can contain themselves, such as the statements of a web ACL."""
PROVIDER = Properties({"allowedAccountIds": '["123456789012"]'}, "provider")
TABLE = Path(settings.__file__).parents[1] / "inputs.json"
REVIEWED = Path(__file__).with_name("reviewed_inputs.txt")


class Input(NamedTuple):
    """An input of a resource type, also in nested objects. path: without indexes."""

    token: str
    path: str
    kind: str
    description: str

    @property
    def name(self) -> str:
        """The name of the input and of the object that contains it."""
        return ".".join(f".{self.path}".split(".")[-2:])

    @property
    def snake(self) -> str:
        return settings.snake_case(self.path.rpartition(".")[2])


Member = tuple[str, str, str]
"""The class or type token with an input, the name of the input, and its Python type."""


@cache
def modules() -> list[list[Member]]:
    """The inputs of the blocks and resource types of each module of pulumi-aws."""
    found = []
    for folder in sorted(Path(pulumi_aws.__file__).parent.glob("*/")):
        module, owner = list[Member](), ""
        for file in folder.glob("*.py"):
            text = file.read_text()
            if file.name == "_inputs.py":
                pattern = r"^class (\w+)Dict\(|^    (\w+): (.*)"
                for start, name, hint in re.findall(pattern, text, re.MULTILINE):
                    owner = start or owner
                    module += [(owner, camel(name), hint)] if name else []
                continue
            inputs = re.findall(
                r"^ {17}(\w+): (pulumi.*)", text.partition("\nclass _")[0], re.MULTILINE
            )
            for token in re.findall(r"'(aws:\w+/\w+:\w+)',\n\s+resource_name", text):
                module += [(token, camel(name), hint) for name, hint in inputs]
        found.append(module)
    return found


def classes(hint: str) -> set[str]:
    return set(re.findall(r"'(\w+Args)", hint))


def _kind(hint: str) -> str:
    kinds = ("bool", "str", "int", "float")
    return next((kind for kind in kinds if f"builtins.{kind}" in hint), "")


@cache
def inputs() -> tuple[Input, ...]:
    """The scalars in the inputs of all resource types."""
    return tuple(each for module in modules() for each in _inputs(module))


def _inputs(module: list[Member]) -> Iterator[Input]:
    blocks: dict[str, list[tuple[str, str]]] = {}
    for owner, name, hint in module:
        blocks.setdefault(owner, []).append((name, hint))

    def walk(owner: str, path: str, parents: frozenset[str]) -> Iterator[tuple[str, str]]:
        for name, hint in blocks.get(owner, ()):
            nested = classes(hint) - parents if len(parents) < DEPTH else set[str]()
            for each in nested:
                yield from walk(each, f"{path}{name}.", parents | {each})
            if not nested and ".tags." not in f".{path}":
                yield f"{path}{name}", hint

    for token in (owner for owner in blocks if ":" in owner):
        for path, hint in walk(token, "", frozenset()):
            yield Input(token, path, _kind(hint), "")


def nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def resource(rule: Rule, token: str, properties: dict[str, Any]) -> Resource:
    return Resource(
        *("urn", token, "a", Properties(properties)),
        provider=PROVIDER,
        lists={"accounts": (), **rule.lists},
        settings=rule.defaults("prod"),
    )


def decided(rule: Rule, token: str, path: str, value: Any) -> Decision:
    """The decision of a rule about a resource with one input."""
    subject = resource(rule, token, nested(path, value))
    return evaluate(rule, subject, Stack([subject]))


def is_read(rule: Rule, token: str, path: str, value: Any) -> bool:
    subject = resource(rule, token, nested(path, value))
    with recorded_reads() as reads:
        for _ in evaluate(rule, subject, Stack([subject])).violations:
            pass
    return any(settings.without_indexes(read) == path for _, read in reads)


VALUES: tuple[Any, ...] = (
    *(False, True, 0, 1, "none", "disabled", "off", "plaintext", "optional", "clientspecified"),
    *("TLSv1", "Policy-Min-TLS-1-0-2019-07", "no", "allow", "enable", "enabled", "pap", "http"),
    *("http-only", "ftp", "nopass", "0", "public", "public-read", "PUBLIC_READ", "*", "all"),
    *("never", "root", "host", "SYS_ADMIN", "aws:pass", "implicit", "legacy", "inactive", "paused"),
    *("MD5", "smb1", "SELF_SIGNED", "no-password", "monitor", "CONNECT_SSH", "0.0.0.0/0", "755743"),
    *(
        "no_root_squash",
        "SERVICE_PROVIDED_EIPS",
        "https://*.example.com",
        "allow.everyone.if.no.acl.found=true",
    ),
    *("IGNORE_ALL_FINDINGS", "API_KEY", "USER_PASSWORD_AUTH", "ACCOUNT"),
    *("SINGLE_AZ_1", "basic", "GuestAccess"),
    *("EVERYONE", "IAM_ALLOWED_PRINCIPALS", "ALLOW_ALL", "open-access"),
)
"""Examples of the values of `settings.MEANINGS`."""


def meanings(item: Input) -> list[settings.Meaning]:
    """The meanings of an input by its name."""
    found = settings.meanings(item.token, item.name)
    return [meaning for meaning in found if meaning.names.pattern]


@cache
def is_judged(item: Input) -> bool:
    """True if a general rule judges an input by its name and value, or what it contains."""
    is_text = re.search("(definitions|_properties|^permissions|acl)$", item.snake)
    return bool(meanings(item) or is_text or settings.is_address(item.name))


@cache
def disabling(item: Input) -> list[Any]:
    """The examples of values that disable a protection."""
    kinds = {"bool": bool, "int": int, "float": int}
    kind = kinds.get(item.kind, str)
    return [
        value
        for value in VALUES
        if type(value) is kind
        and any(
            meaning.values.fullmatch(str(value))
            for meaning in settings.meanings(item.token, item.name)
        )
    ]


SETTINGS = (
    *(settings.ENCRYPTION, settings.ACCESS, settings.LOGS, settings.LOSS, settings.PRIVILEGES),
)


@cache
def rules_of(token: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in catalogue.RULES if token in rule.types)


@cache
def classes_of_rules() -> frozenset[str]:
    """The types that the rules name, also to read them for the rule of another type."""
    return frozenset(token for words in words_by_rule().values() for token in aws_tokens(words))


@cache
def words_of_rules(token: str) -> frozenset[str]:
    """The texts in the checks of the rules that name a type."""
    return frozenset(
        word for words in words_by_rule().values() if token in aws_tokens(words) for word in words
    ) | frozenset(word for rule in rules_of(token) for word in words_by_rule()[rule.id])


@cache
def words_by_rule() -> dict[str, frozenset[str]]:
    """The texts in the check of each rule, in the functions that it calls, and their words."""
    return {
        rule.id: frozenset(
            word
            for text in _texts(rule.check, {})
            for word in (text, *re.findall(r"[\w.\[\]]+", text))
        )
        for rule in catalogue.RULES
        if rule.id not in SETTINGS
    }


@cache
def aws_tokens(words: frozenset[str]) -> frozenset[str]:
    names = (word for word in words if re.fullmatch(r"[a-z]\w*\.[A-Z]\w*", word))
    return frozenset(aws(*names)) | {word for word in words if word.startswith("aws:")}


def _texts(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    if id(value) in seen:
        return
    seen[id(value)] = value  # which keeps it, because Python may reuse the ID of a deleted one
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from _texts(each, seen)
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()], seen)
    elif isinstance(value, Requirement):
        yield from _texts(value.check, seen)
    elif isinstance(value, partial):
        yield from _texts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, CodeType):
        yield from _texts(value.co_consts, seen)
    elif isinstance(value, FunctionType) and ".rules." in f".{value.__module__}.":
        names = (name for code in _codes(value.__code__) for name in code.co_names)
        yield from _texts([value.__globals__.get(name) for name in names], seen)
        yield from _texts([value.__code__, value.__defaults__, _cells(value)], seen)
    elif isinstance(value, FunctionType):
        yield from _texts([value.__code__, _cells(value)], seen)


def _cells(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def is_read_by_rules(item: Input) -> bool:
    """True if a rule that names the type names the input."""
    return bool({item.path, item.path.rpartition(".")[2]} & words_of_rules(item.token))


def is_reported_by_other_rules(item: Input) -> bool:
    """True if a rule for the type reports a value that disables a protection, or if its module
    names the input, which it can evaluate together with others.
    """
    name = item.path.rpartition(".")[2]
    words = words_of_rules(item.token)
    if is_judged(item) and (item.path in words or ("_" in item.snake and name in words)):
        return True
    if item.path == "parameters.value" and item.token in classes_of_rules():
        return True
    good = {"bool": lambda bad: not bad, "int": lambda _: 7, "float": lambda _: 7}
    for bad in disabling(item):
        other = good.get(item.kind, lambda _: "other")(bad)
        for rule in rules_of(item.token):
            reported = set(decided(rule, item.token, item.path, bad).violations)
            if not reported:
                continue
            compliant = set(decided(rule, item.token, item.path, other).violations)
            if reported - compliant:
                return True
            messages = (settings.without_indexes(each.message) for each in reported)
            if is_judged(item) and any(item.path in message for message in messages):
                return True
    return False


# Names of inputs that concern security, and that no meaning of analysis/settings.py judges.
NOT_JUDGED = re.compile(
    r"(authorize_all_groups|authorized|allow_external\w*"
    r"|allow_association_to_shareable\w*|hybrid_access_enabled|share_principals|sharing_(enabled|type)"
    r"|trust_(direction|type)|root_squash|smb_acl_enabled|s3_acl_option|admins"
    r"|permissions(_with_grant_options)?|rules_string|rule_definition|rules_json"
    r"|cidr_allow_lists|allowed_ip_range|network_mode|connection_mode|is_publicly_accessible"
    r"|endpoint_access_mode|(associate|assign)_public_ip\w*|map_public_ip_on_launch"
    r"|allowed_first_auth_factors|with_privileged_access)"
)
# Words of names that can concern security.
WORDS = re.compile(
    r"(?<![a-z])(access|acls?|allow(ed)?|anonymous|auth\w*|block(ed)?|bypass|certificate|cidrs?|cross"
    r"|credentials?|debug|deny|disable|encrypt\w*|everyone|expos\w*|external|federat\w*|firewall|grant\w*"
    r"|guests?|https?|impersonat\w*|ingress|insecure|internet|isolat\w*|kms|lock\w*|logs?|logging|login"
    r"|mfa|mtls|network_mode|password|permissions?|permit|polic(y|ies)|principals?|privileged?|protect\w*"
    r"|protocols?|public\w*|require\w*|enforce\w*|restrict\w*|root|scan\w*|secur\w*|shared?|sharing|sign\w*|ssh|ssl|sso|tls"
    r"|tokens?|trust\w*|unauthenticated|untrusted|validat\w*|verif\w*|visib\w*|wildcard|admins?)(?![a-z])"
)
_REFERENCE = re.compile(r"_(arns?|ids?|names?|prefix|suffix|wo|wo_version|format)$")


def not_evaluated(item: Input) -> bool:
    if not NOT_JUDGED.fullmatch(item.snake) or meanings(item):
        return False
    rules = rules_of(item.token)
    if not rules and item.token in classes_of_rules():
        return False
    value = {"bool": True, "int": 1, "float": 1}.get(item.kind, "a")
    return not any(is_read(rule, item.token, item.path, value) for rule in rules)


def to_review() -> set[str]:
    """The names of inputs that no meaning judges, but whose words can concern security."""
    return {
        item.snake
        for item in inputs()
        if item.kind in ("bool", "str")
        and WORDS.search(item.snake)
        and not _REFERENCE.search(item.snake)
        and not NOT_JUDGED.fullmatch(item.snake)
        and not meanings(item)
    }


WITHOUT_DATA = (
    "lambda/eventSourceMapping",
    *("s3/bucketObject", "s3/bucketObjectv2", "s3/objectCopy"),
)
"""Types whose key encrypts no data of customers, such as the criteria of a filter, and objects,
which have the key of their bucket.
"""


@cache
def table() -> dict[str, Any]:
    other_rules: dict[str, set[str]] = {}
    unevaluated: dict[str, set[str]] = {}
    keys: dict[str, set[str]] = {}
    for item in inputs():
        row = settings.row_name(item.token)
        is_key = settings.is_key(item.name) and item.kind == "str"
        if is_key and row not in WITHOUT_DATA and not is_read_by_rules(item):
            keys.setdefault(row, set()).add(item.path)
        if is_reported_by_other_rules(item):
            name = item.name if "_" not in item.snake else item.path.rpartition(".")[2]
            other_rules.setdefault(row, set()).add(name)
        elif not_evaluated(item):
            unevaluated.setdefault(row, set()).add(item.path)
    return {
        "version": version("pulumi-aws"),
        "defaults": json.loads(TABLE.read_text())["defaults"],
        "other_rules": {row: " ".join(sorted(paths)) for row, paths in other_rules.items()},
        "keys": {row: " ".join(sorted(paths)) for row, paths in keys.items()},
        "not_evaluated": {row: " ".join(sorted(paths)) for row, paths in unevaluated.items()},
    }


def text(document: dict[str, Any]) -> str:
    """JSON with one line for each resource type."""
    sections = []
    for name, section in document.items():
        if isinstance(section, dict):
            rows = (f"{json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(section.items()))
            sections.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
        else:
            sections.append(f"{json.dumps(name)}: {json.dumps(section)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


if __name__ == "__main__":
    TABLE.write_text(text(table()))
