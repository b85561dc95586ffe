"""Settings of any AWS service: inputs that mean the same in all services, by the words of their
names and by their values.

tests/policies/test_inputs.py compares them with the schema of pulumi-aws.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatehouse_policies.analysis.properties import is_policy, is_unknown, json_value
from gatehouse_policies.analysis.resources import Resource, Stack

ENCRYPTION, ACCESS, LOGS, LOSS, PRIVILEGES, KEYS = (
    f"GH-PUL-{id}" for id in ("009", "010", "011", "012", "013", "014")
)
"""The controls that report a setting."""


@dataclass(frozen=True)
class Meaning:
    """Inputs with one meaning.

    names: of `parent.name` in snake_case: the input, and the object that contains it.
    values: those that disable the protection, in any case.

    types: of the types with these inputs.
    is_decisive: True if most inputs with these names have this meaning, so that an unknown value is
        undecided.
    """

    control: str
    names: re.Pattern[str]
    values: re.Pattern[str]
    severity: str
    types: re.Pattern[str]
    is_decisive: bool


def _meanings(
    control: str,
    *rows: tuple[str, str],
    severity: str = "high",
    types: str = "",
    is_decisive: bool = True,
) -> Iterator[Meaning]:
    for names, values in rows:
        patterns = (re.compile(names), re.compile(values, re.IGNORECASE))
        yield Meaning(control, *patterns, severity, re.compile(types), is_decisive)


_CRYPTO = r"(?<![a-z])(encrypt(ed|ion)?|ssl|tls|https|sse)(?![a-z])\w*"
# Names of keys, contexts, methods and migrations, and the negations below.
_NO_CRYPTO = (
    r"^(?!.*(disable|insecure|ignore|skip|allow|kms_encrypted|context|conflict|strategy|blocked"
    r"|holding|headers|client_auth|client_cert|resumption|_support|tls_auth|modes_of_uses|_provider"
    r"|transit_encryption_mode|field_level|(?<!minimum_encryption)_configuration$|_scope|managed_sse"
    r"|_arn|_id|_name|_key|_role|_port))"
)
_CONTAINER = r"(container\w*|security_context|linux_parameters|\w*_properties)[.]"

# The names and values of a few services can stand together, as no name has a value of another.
MEANINGS = (
    *_meanings(
        ENCRYPTION,
        # Encryption and TLS.
        (
            rf"{_NO_CRYPTO}.*({_CRYPTO}([.](enabled|enforce))?|[.]in_cluster"
            "|require_secure_transport)$",
            "false|0|off",
        ),
        (
            r"(disable|ignore|skip|insecure)\w*_(ssl|tls|cert\w*|encryption|verif\w*|signing)(?!_job)"
            r"|(ssl|tls|encryption|signing)_disabled$|insecure$|allow_clear_text$"
            r"|(?<!remote_)debug(_logging)?$|no_password_required$"
            # Authentication.
            r"|unauthenticated(_\w*ent\w*)?$|anonymous\w*$|auth\w*[.]none$",
            "true",
        ),
        (
            rf"{_NO_CRYPTO}.*({_CRYPTO}([.](type|mode|state|(opt_in_)?status))?|client_broker"
            r"|(rpc|data_transfer)_protection|security_protocol)$|^[.]authentication$",
            "none|disabled?|off|((tls|sasl)_)?plain_?text|unencrypted|permissive|monitor|guest_?access",
        ),
        (
            r"^(?!.*(conflict|endpoint_auth_methods|default_auth_scheme|iam_auth))(.*[_.])?"
            r"(auth(entication|orization|orizer)?(_(type|mode|method|scheme)s?)?)$",
            r"none|no|open|anonymous|unauthenticated|no_?auth\w*",
        ),
        (
            "^[.](acceptance_required|transfer_lock)$|on_unauthenticated_request$|http_tokens$"
            "|auto_accept_shared|minimum_instance_metadata_service_version$|signing_behavior$"
            "|node_tls_reject_unauthorized$|pythonhttpsverify$",
            "false|allow|enable|optional|0|1|never",
        ),
    ),
    *_meanings(
        ENCRYPTION,
        (
            r"(iam_(database_)?auth\w*|[.]require_(lower|upper|numbers|symbols)\w*|token_revocation"
            "|(assignment|authorization)_required|server_side_token_check|for_cache_control"
            "|enforce_workgroup_configuration|mfa_configuration|certificate_type|advanced_security_mode"
            "|selective_auth|verify_mode|authentication_protocol|user_existence_errors)$",
            "false|off|disabled|none|pap|legacy",
        ),
        (
            r"((tls|https)_policy|security_strategy|certificate_mode|untrusted_artifact\w*"
            "|allowed_oauth_flows|explicit_auth_flows)$",
            "optional|clientspecified|self_signed|warn|implicit|(allow_)?user_password_auth",
        ),
        ("[.]minimum_(password_)?length$", "[1-9]|1[0-3]"),
        severity="medium",
    ),
    *_meanings(
        ENCRYPTION,
        (
            r"((ssl|tls|minimum)\w*_(version|protocols?)|(ssl|tls|security)_(security_)?policy(_name)?)$",
            r"(ssl|tls)_?v?-?(2|3|1([._-]?[01])?)(_20\d\d)?|.*min-tls-1-[01]-.*"
            r"|elbsecuritypolicy-(201[56]|tls-1-[01])-?.*|transfersecuritypolicy-(fips-)?20(18|20)-.*",
        ),
        (
            "(algorithms?|ike_versions?|mount_options[.]version)$",
            r"md5\w*|sha-?1(with\w*)?|des(_ede3_cbc)?|3des\w*|rc4|ikev1|rsa_?1024|none|smb1|smb2_0",
        ),
        ("access_string$", r".*\bnopass\b.*"),
        ("protocols?$|scheme$", "ftp|telnet|ldap"),
        (
            r"^([.]|config[.]|redirect\w*[.])(server_)?protocol$|[.]lb_protocol$|protocol_policy$",
            "http(-only)?|allow-all",
        ),
        types="aws:(?!payment)",
        is_decisive=False,
    ),
    *_meanings(
        ENCRYPTION,
        ("auth(entication)?_mode[.]type$", "no-password(-required)?"),
        types="aws:memorydb/",
    ),
    *_meanings(
        ACCESS,
        (
            r"^(?!ingress_configuration).*(public(ly)?_(accessible|connectivity|access)\w*"
            "|create_public_ip|internet_access|serial_console_access[.]enabled)$",
            "true|enabled",
        ),
        (r"(block|restrict|ignore)_public\w*$|internet_gateway_block_mode$", "false|off|disabled"),
    ),
    *_meanings(
        ACCESS,
        (
            r"(?<![a-z])(access(_mode|_type|_level)?|(?<!global_)visibility|public_access[.]type)$"
            "|authentication_configuration[.]connectivity$",
            r"public\w*|service_provided_eips|everyone|open",
        ),
        (
            r"(?<![a-z])(?<!excluded_)(?<!organization_)"
            "(user_groups|group|accounts?|account_ids|members|trustees?)$",
            "[*]|all",
        ),
        (r"(callback|redirect|return|logout)_ur[il]s?$", ".*[*].*"),
        (
            "",
            "everyone|everybody|iam_allowed_principals|all_?users|allow_all|open-access|unrestricted"
            "|public_(ip|only)|publicinternetonly|public[-_]read([-_]write)?|authenticated[-_]read"
            # Cedar, in Verified Access and Verified Permissions.
            r"|(?s:.*\bpermit\s*\(\s*principal\s*,\s*action\s*,\s*resource\s*\)\s*"
            r"(when\s*\{\s*true\s*\}\s*)?;.*)",
        ),
        # https://docs.aws.amazon.com/msk/latest/developerguide/msk-acls.html
        (
            "default_actions$|server_properties$",
            r"aws:pass|(?s:.*\ballow\.everyone\.if\.no\.acl\.found\s*=\s*true.*)",
        ),
        ("(client_lists?|clients|allowed_ip_range|cidr_allow_lists)$", "0[.]0[.]0[.]0/0|::/0|[*]"),
        # Account IDs in a pattern without anchors, which also accepts longer IDs.
        # https://docs.aws.amazon.com/codebuild/latest/userguide/webhooks.html
        ("filters[.]pattern$", r"\(?\d{4,}(\|\d{4,})*\)?"),
        ("connection_type$", "connect_ssh"),
        is_decisive=False,
    ),
    *_meanings(
        ACCESS, ("source_dest_check$", "false"), severity="medium", types="aws:ec2/networkInt"
    ),
    *_meanings(ACCESS, ("auth(entication)?_type$", "api_key"), types="aws:appsync/"),
    *_meanings(
        ACCESS,
        (
            r"(validation|inspection|verification)\w*[._]mode$|enforce_security\w*$",
            r"off|none|disabled|ignore\w*|monitor|log_only",
        ),
        severity="medium",
        is_decisive=False,
    ),
    *_meanings(ACCESS, ("portfolio_share[.]type$", "account"), severity="medium"),
    *_meanings(
        ACCESS,
        (
            "fail_open$|allow_(auto_registration|authorizer_override|classic_flow)$"
            "|allow_full_table_external_data_access$",
            "true|enabled",
        ),
        (
            "(input_(strength|action)|redirection_action|obfuscation_setting_type"
            "|desync_mitigation_mode|enable_network_isolation|enhanced_vpc_routing)$",
            r"none|trust_\w+|monitor|false",
        ),
        severity="medium",
    ),
    *_meanings(
        LOGS,
        (
            r"^(?!.*(debug|dedicated|no_log|archived|supplemental|bgp|trace|incident|transformed))"
            r"(.*[_.])?(logs?(ging)?(_enabled)?|log_file_validation|audit)$"
            "|publish_cloudwatch_metrics_enabled$|rotation_enabled$|audit_logs?$|scan(ning)?_enabled$",
            "false|0|off|disabled",
        ),
        ("disable_all_logs$|[.]suspend$", "true"),
        severity="medium",
    ),
    *_meanings(
        LOGS,
        (
            r"(log(ging)?_level|log(ging)?_config\w*[.]level|log_\w*status)$|^[.]logging$",
            "none|disabled?|off",
        ),
        severity="medium",
        # Stages have access logs; their execution logs can contain secrets.
        types="aws:(?!apigateway)",
        is_decisive=False,
    ),
    *_meanings(
        LOGS,
        (
            r"[.](status|enabled?|is_enabled)$|^auto_enable[.]|[.]auto_enable\w*$",
            "false|none|disabled|paused|suspended",
        ),
        severity="medium",
        types="aws:(guardduty|macie2|inspector2|securityhub|cfg)/",
    ),
    *_meanings(LOGS, ("xray(_tracing)?_enabled$|active_tracing$", "false"), severity="low"),
    *_meanings(LOGS, ("container_insights$", "disabled"), severity="medium"),
    *_meanings(LOGS, ("system_type$", "basic"), severity="low", types="aws:elasticb"),
    *_meanings(
        LOSS,
        (
            r"^(?!.*managed).*(delet(e|ion)|termination|change|mutation)_protection(_enabled|_status)?$"
            r"|disable_api_termination$|(backup|snapshot)_retention\w*$|lock_type$"
            "|point_in_time_recovery([._](enabled|status))?$|(auto_minor|allow)_version_upgrade$",
            "false|disabled|inactive|0|none",
        ),
        (r"skip_final_\w*$", "true"),
        severity="medium",
    ),
    # DocumentDB.2, Neptune.5 and Redshift.3 of the FSBP standard.
    *_meanings(
        LOSS,
        ("(backup|automated_snapshot)_retention_period$", "[1-6]"),
        severity="medium",
        types="aws:(docdb|neptune|redshift)/",
    ),
    *_meanings(
        LOSS,
        ("copy_tags_to_(backups|snapshots?|volumes)$", "false"),
        ("cross_zone_load_balancing$|connection_draining$|managed_actions_enabled$", "false"),
        severity="low",
    ),
    *_meanings(LOSS, ("(multi_az|automatic_failover)(_enabled)?$", "false"), severity="medium"),
    *_meanings(LOSS, ("deployment_type$", r"single_az\w*"), severity="low", types="aws:fsx/"),
    *_meanings(
        LOSS, ("initial_instance_count$", "1"), severity="low", types="aws:sagemaker/endpointC"
    ),
    *_meanings(
        PRIVILEGES,
        (
            "(?<![a-z])privileged(_mode)?$|allow_privilege_escalation$|host_network$|root_access$"
            "|privileged_delete$|bypass_\\w*(lockout|snaplock)\\w*$",
            "true|enabled",
        ),
        (rf"{_CONTAINER}(user|run_as_user|run_as_group)$|posix_user[.](uid|gid)$", "root|0(:0)?"),
    ),
    *_meanings(
        PRIVILEGES,
        ("(network|pid|ipc)_mode$|(squash|options)$", "host|nosquash|no_root_squash"),
        (
            "capabilities[.]adds?$|os_capabilities$",
            "all|(cap_)?(sys_admin|sys_ptrace|net_admin|sys_module)",
        ),
        is_decisive=False,
    ),
    *_meanings(
        PRIVILEGES,
        (f"{_CONTAINER}(run_as_non_root|read_?only_root_file_?system)$", "false"),
        (r"local_administrator$|enable_(docker|remote_debug|ssm_access)\w*$", "true|enabled"),
        severity="medium",
    ),
)
# Inputs with an address to which data or tokens are sent.
_ADDRESS = re.compile(
    r"^(?!.*(repository|homepage|document|issuer|namespace|license|support|avatar|logo|image))"
    r".*(url|uri|endpoint|server|proxy|webhook)s?$",
    re.IGNORECASE,
)
_DESTINATION = re.compile(
    r"invocationEndpoint$|\bhttps?[.](url|confirmationUrl)$|httpEndpointConfiguration[.]url$"
)
_HTTP = re.compile(
    r"(http|ftp|ldap|ws)://(?!localhost\b|127\.|acs\.amazonaws\.com|\[::1\]|169\.254\.)",
    re.IGNORECASE,
)
# Texts for people, and maps whose keys the program chooses.
_TEXTS = re.compile(r"tags(all)?|description|title|labels|annotations|comment", re.IGNORECASE)
_VARIABLES = re.compile(r"environment\w*|variables", re.IGNORECASE)
# Variables that disable TLS, and an input of the environment of CodeBuild.
_JUDGED_VARIABLES = ("node_tls_reject_unauthorized", "pythonhttpsverify", "privilegedmode")
_ANY_ORIGIN = re.compile(r"[*]|\w+://[*]")
_LOG = re.compile(r"(?<!cata)(?<!dia)log(?!ic)", re.IGNORECASE)
_SWITCH = re.compile(rf"(?!.*encrypt).*{_LOG.pattern}.*(enabled|status)", re.IGNORECASE)
_OF_CLASS = (".enabled", ".enable", ".isEnabled", ".status", ".state", ".type", ".mode")
_SHOWN_MAX = 40
_KEY = re.compile(
    r"(?!.*([.]source_|performance_insights|secret_kms|[.]s3_)).*(kms_arn|cmk_arn"
    r"|(kms|encryption)_(\w+_)?key(_arn|_id(entifier)?)?|encryption_(config\w*|key)[.](key_)?id)"
)
_ENCRYPTS = re.compile("encrypt|sse|kms", re.IGNORECASE)
_TABLE = Path(__file__).parents[1] / "inputs.json"


@dataclass(frozen=True)
class Setting:
    """An input with a value that disables a protection.

    value: "" if the input is not set, None if it is unknown.
    default: the value of AWS if the input is not set.
    """

    control: str
    path: str
    value: str | None
    severity: str = "medium"
    default: str = ""


@cache
def _table() -> dict[str, dict[str, Any]]:
    """The reviewed inputs of pulumi-aws, which tests/policies/test_inputs.py generates."""
    return dict(json.loads(_TABLE.read_text("utf-8")))


def provider_version() -> str:
    """The newest version of pulumi-aws whose inputs are reviewed."""
    return str(_table()["version"])


def row_name(type_: str) -> str:
    """The name of a type in the table. Types with two tokens have one row."""
    name = type_.removeprefix("aws:").partition(":")[0].removesuffix("V2")
    return f"lb/{name.removeprefix('alb/')}" if name.startswith("alb/") else name


def _row(section: str, type_: str) -> Any:
    return _table()[section].get(row_name(type_))


@cache
def not_evaluated(type_: str) -> frozenset[str]:
    """The paths of the inputs of a type that concern security and that no rule evaluates."""
    return frozenset((_row("not_evaluated", type_) or "").split())


@cache
def meanings(type_: str, name: str) -> tuple[Meaning, ...]:
    """The meanings of the inputs of a type with the name `parent.name`. The parent of an input such
    as `enabled` of the type itself is its class.
    """
    if name in _OF_CLASS:
        name = type_.rpartition(":")[2] + name
    name = snake_case(name)
    named = (meaning for meaning in MEANINGS if meaning.names.search(name))
    return tuple(meaning for meaning in named if meaning.types.match(type_))


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def without_indexes(path: str) -> str:
    return re.sub(r"\[\d+\]", "", path)


def settings_of(resource: Resource, _stack: Stack) -> tuple[Setting, ...]:
    """The settings of a resource, except those that a rule for its type reports."""
    if not resource.type.startswith("aws:"):
        return ()
    reported = (_row("other_rules", resource.type) or "").split()
    inputs = resource.props.plain()
    found = (*_values(resource.type, inputs), *_origins(inputs, ""), *_logs(inputs))
    return (
        *(setting for setting in found if not _is_reported(setting, reported)),
        *_defaults(resource.type, inputs),
        *_keys(resource.type, inputs),
    )


def _is_reported(setting: Setting, reported: Collection[str]) -> bool:
    """True if other rules report an input, or an object that contains it."""
    names = f".{without_indexes(setting.path)}".split(".")
    pairs = (f"{parent}.{name}" for parent, name in pairwise(names))
    return any(name in reported for name in (*names, *pairs))


def destinations(resource: Resource) -> Iterator[tuple[str, str]]:
    """The path and host of each address outside the program to which a resource sends data."""
    for path, name, value, _ in leaves_of(resource.props.plain(), ""):
        is_own = resource.property_dependencies.get(re.split(r"[.\[]", path)[0])
        is_text = isinstance(value, str) and value.startswith("https://")
        if is_text and not is_own and _DESTINATION.search(name):
            yield path, urlsplit(value).hostname or ""


def is_address(name: str) -> bool:
    """True for an input with an address to which data or tokens are sent."""
    return _ADDRESS.search(name) is not None


def _values(type_: str, inputs: Mapping[str, Any]) -> Iterator[Setting]:
    for path, name, value, block in leaves_of(inputs, ""):
        for meaning in meanings(type_, name):
            if is_unknown(value):
                if meaning.is_decisive:
                    yield Setting(meaning.control, path, None)
            elif meaning.values.fullmatch(str(value)):
                yield Setting(meaning.control, path, _shown(value), meaning.severity)
        is_plain = isinstance(value, str) and _HTTP.match(value) and is_address(name)
        # API Gateway reaches load balancers in a VPC by this link.
        if is_plain and block.get("connectionType") != "VPC_LINK":
            yield Setting(ENCRYPTION, path, "an address without TLS", "high")


def leaves_of(
    value: Any, path: str, name: str = "", block: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, str, Any, Mapping[str, Any]]]:
    """The path and name of each scalar, also in JSON text, the scalar, and the object that contains
    it. The name is `parent.name`, or that of a pair of a name and a value.

    Without policy documents, and without what the program chooses: tags, texts for people, and
    variables that do not disable TLS.
    """
    decoded = json_value(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
    if isinstance(decoded, list):
        for index, element in enumerate(decoded):
            yield from leaves_of(element, f"{path}[{index}]", name, block)
    elif isinstance(decoded, Mapping):
        parent = name.rpartition(".")[2]
        variables = _VARIABLES.fullmatch(parent)
        pair = _pair(decoded)
        for key, inner in () if is_policy(decoded) else decoded.items():
            own = pair if pair and key.lower().endswith("value") else key
            is_chosen = variables and not isinstance(inner, list | Mapping)
            if _TEXTS.fullmatch(key) or (is_chosen and own.lower() not in _JUDGED_VARIABLES):
                continue
            inner_path = f"{path}.{key}" if path else key
            yield from leaves_of(inner, inner_path, f"{parent}.{own}", decoded)
    else:
        yield path, name, value, block or {}


def _pair(block: Mapping[str, Any]) -> str:
    """The name in a pair of a name and a value, such as a parameter of a database."""
    members = {key.lower().removeprefix("parameter"): value for key, value in block.items()}
    name = members.get("name", members.get("key"))
    return name.replace(".", "_") if isinstance(name, str) and "value" in members else ""


def _shown(value: Any) -> str:
    """A value in a message. A long text, such as an access string, can contain a secret."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if len(str(value)) <= _SHOWN_MAX else "a text that allows everyone"


def _origins(value: Any, path: str) -> Iterator[Setting]:
    """CORS that allows every origin and credentials."""
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from _origins(element, f"{path}[{index}]")
    if not isinstance(value, Mapping):
        return
    flags = (inner for key, inner in value.items() if key.lower().endswith("allowcredentials"))
    is_with_credentials = any(str(flag).lower() == "true" for flag in flags)
    for key, inner in value.items():
        own = f"{path}.{key}" if path else key
        if is_with_credentials and key.lower().endswith("origins"):
            origins = [
                each for _, _, each, _ in leaves_of(inner, "") if _ANY_ORIGIN.fullmatch(str(each))
            ]
            yield from (Setting(ACCESS, own, f"{each} with credentials") for each in origins[:1])
        yield from _origins(inner, own)


def _logs(inputs: Mapping[str, Any]) -> Iterator[Setting]:
    """Properties with logs of which none is enabled."""
    for name, value in inputs.items():
        if isinstance(value, list | Mapping):
            leaves = [(path, each) for path, _, each, _ in leaves_of(value, name)]
            switches = {path: each for path, each in leaves if _SWITCH.fullmatch(path)}
            # The logs of a destination without a switch are enabled.
            switched = tuple(path.rpartition(".")[0] for path in switches)
            others = (path for path, _ in leaves if not path.startswith(switched))
            is_off = all(str(each).lower() in ("false", "disabled") for each in switches.values())
            if switches and is_off and not any(_LOG.search(path) for path in others):
                path, each = next(iter(switches.items()))
                yield Setting(LOGS, path, _shown(each))


def _defaults(type_: str, inputs: Mapping[str, Any]) -> Iterator[Setting]:
    """The inputs that the program does not set, and whose absence disables a protection."""
    for path, (control, default) in (_row("defaults", type_) or {}).items():
        absent = list(_is_absent(inputs, path.split(".")))
        if True in absent:
            yield Setting(f"GH-PUL-{control}", path, "", default=default)
        elif None in absent:
            yield Setting(f"GH-PUL-{control}", path, None)


def is_key(name: str) -> bool:
    """True for an input with the ID or ARN of the KMS key that encrypts data."""
    return _KEY.fullmatch(snake_case(name)) is not None


def _keys(type_: str, inputs: Mapping[str, Any]) -> Iterator[Setting]:
    """The inputs without a customer managed key, in objects that exist or that are about
    encryption.
    """
    for path in (_row("keys", type_) or "").split():
        *parents, name = path.split(".")
        for block in _blocks(inputs, parents):
            value = block.get(name) or ""
            if not value or "alias/aws/" in str(value):
                yield Setting(KEYS, path, str(value), "low", default="an AWS managed key")


def _blocks(value: Any, names: list[str]) -> Iterator[Mapping[str, Any]]:
    """The objects at a path, and one without members for those that the program does not set."""
    if isinstance(value, list):
        for element in value:
            yield from _blocks(element, names)
    elif value is None and all(map(_ENCRYPTS.search, names)):
        yield {}
    elif isinstance(value, Mapping) and names:
        inner = value.get(names[0])
        if inner is not None or _ENCRYPTS.search(names[0]):
            yield from _blocks(inner, names[1:])
    elif isinstance(value, Mapping):
        yield value


def is_set(inputs: Mapping[str, Any], path: str) -> bool:
    """True if a program sets an input at a path without indexes, in any element of a list."""
    return False in _is_absent(inputs, path.split("."))


def _pairs(elements: list[Any]) -> set[str]:
    """The names in a list of pairs of a name and a value; none in another list."""
    names = {_pair(each) if isinstance(each, Mapping) else "" for each in elements}
    return set() if "" in names else names


def _is_absent(value: Any, names: list[str]) -> Iterator[bool | None]:
    """Whether a path is absent in a value, for each element of a list. None if it is unknown."""
    if names and is_unknown(value):
        yield None
    elif isinstance(value, list) and names and (pairs := _pairs(value)):
        is_absent = names[0] not in pairs
        yield None if is_absent and any(map(is_unknown, pairs)) else is_absent
    elif isinstance(value, list):
        for element in value:
            yield from _is_absent(element, names)
    elif not names:
        yield value in (None, "", [])
    elif isinstance(value, Mapping) or value is None:
        yield from _is_absent((value or {}).get(names[0]), names[1:])
