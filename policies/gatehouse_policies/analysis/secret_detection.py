"""Heuristic detection of secrets by the name and value of a setting. The value is neither stored
nor reported.

The last words of a name decide whether the setting holds a secret: `API_KEY` does, and
`API_KEY_HEADER` does not. A value can refute the name, such as a Boolean, an ARN or a URL without a
password. A name such as `GITHUB_KEY` or `TOKEN_GITHUB` indicates a secret only together with a
value of random letters and digits. Some values are secrets under any name, because they have the
format of a token or are random. Precision and recall on several corpora: docs/guides/policies.md,
"Detection of secrets".
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, starmap, zip_longest

from pulumi_local.lists import name_set

from gatehouse_policies.analysis.token_formats import has_secret_format

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = name_set(
    "password passwd passphrase passcode passwords requirepass pwd pw pass secret secrets token "
    "tokens credential credentials creds pepper auth apikey apikeys secretkey authtoken "
    "accesstoken privatekey pat authorization"
)
# Endings of words without separators, such as `dbpassword` and `clientsecret`.
_SECRET_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "apikey")
# Words before `key` that make the key a secret.
_SECRET_KEYS = name_set(
    "api access secret private signing encryption session master license licence account deploy "
    "service auth hmac jwt app application cookie webhook shared storage admin data root wrapping "
    "write ingest integration subscription certificate cert tls ssl consumer preshared"
)
# Words before `key` whose keys are not secret even if they are random.
_HARMLESS_KEYS = name_set(
    "kms primary foreign partition sort range hash cache object bucket s3 host "
    "idempotency routing schema sequence group index row tag metric"
)
# Words after a secret that do not change what the setting holds.
_NEUTRAL_ENDINGS = name_set(
    "value string base64 b64 base current previous old new primary secondary plaintext text prod "
    "production staging stage live dev development test sandbox qa pem openssh"
)
# First words of names that describe an amount or switch, such as MAX_TOKENS and ENABLE_AUTH.
_DESCRIBING = name_set(
    "max min num total limit count enable enabled disable use require has public csrf update "
    "manage allow allows encrypt"
)
# Last words of names that describe a secret, such as TOKEN_AUDIENCE and SECRET_NAME.
_DESCRIBING_ENDINGS = name_set(
    "name names url uri host endpoint path file dir prefix suffix header audience issuer table "
    "bucket queue topic type provider pool client user username algorithm"
)
# Endings of names whose values are random but public.
_PUBLIC_WORDS = name_set(
    "sha sha1 sha256 hash digest checksum fingerprint commit revision version id ids uuid etag "
    "build arn image thumbprint public publishable site certificate cert integrity nonce"
)
# Values that a setting with the name of a secret can have although it holds none: switches,
# numbers, durations, references.
_REFUTING = re.compile(
    r"(true|false|yes|no|on|off|none|null|enabled|disabled|required|optional|basic|bearer|token|want|need|oauth2?|oidc|saml|jwt|iam|scram|md5|ldap)"
    r"|\d{1,5}|\d+(\.\d+)?(ms|s|m|h|d|min|sec)"
    r"|arn:[^\s]+|\$\w+|\$\{[^}]*\}|\$?\{\{[^}]*\}\}|\{\w+\}|\$\([^)]*\)|`[^`]*`|<[^>]*>|[\w.]+[([]\W.*"
    r"|[\^~v]?\d+(\.\d+){2}|([\w.-]+/)*[\w.-]+\.(sh|json|ya?ml|pem|key|crt|txt|env|ini|conf|properties|p12|jks)"
    r"|(file|https?|ssm|secretsmanager|vault|kms)://[^\s@]*|~?\.{0,2}/[\w./-]+"
    r"|([a-z][a-z0-9_-]*/)+[a-z][a-z0-9_-]*",
    re.IGNORECASE,
)
_AUTHENTICATION_MODES = name_set("password token key certificate mtls kerberos iam url or and")
_NAMES_A_SECRET = re.compile(
    r"[a-z][a-z0-9_/-]*(secret|credential|token|password|key|pepper)s?|([a-z]+[_/-])+(secret|credential|token|key)s?([_/-][a-z]+)+",
    re.IGNORECASE,
)
# Ciphertexts of AWS KMS, SOPS and HashiCorp Vault, and placeholders.
_ENCRYPTED = re.compile(r"AQICAH[\w+/=-]{40,}|ENC\[[^\]]+\]|vault:v\d+:.+")
_PLACEHOLDER = re.compile(r"x{6,}|^(x+|y+|z+|[*.#-]+)$", re.IGNORECASE)
# Words of a value that takes the place of a secret. Of the second set, one alone is no placeholder.
_PLACEHOLDER_WORDS = name_set(
    "change changed changeit changeme dummy empty fill fillme fixme ignored initial insert "
    "managed manually na outside placeholder populated replace replaced replaceme set setme tba "
    "tbd temporary todo undefined unset update updated updateme"
)
_FILLING_WORDS = name_set(
    "a api be by console credential do externally hand here in is it key later me my n not of "
    "password please secret the this to token value will with your"
)
_ARGUMENT = re.compile(r"(-{0,2})([A-Za-z][\w-]*)(?:=(.+))?", re.DOTALL)
# The first bytes of public keys in DER and OpenSSH format, in base64.
_PUBLIC_KEYS = ("MIIBI", "MIICI", "MFkw", "MHYw", "MCow", "AAAAB3", "AAAAC3", "AAAAE2")
_RANDOM_CHARS_MIN = 32
_NAME_CHARS_MAX = 512
"""Maximum length of the name of a secret in AWS Secrets Manager."""
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Random letters and digits have 0.4 to 0.6. The letters of words seldom alternate with digits.
_CHANGES_MIN = 0.25
# Random lower-case letters and digits have 3.6: 85 percent of tokens of 24 have less than 5.
_TOKEN_LETTERS_MEAN = 5.0
# Bits per character. At this length, random base64 has at least 4.5; words and names have less than
# 4.
_ENTROPY_MIN = 4.0
# Mean length of the runs of letters in names such as AcmeGatewayServiceV2. Random base64 has less
# than 3.
_WORD_CHARS_MEAN = 4.0


def looks_secret(name: str, value: str) -> bool:
    """True if the name and the value together indicate a secret, or the value alone does."""
    if not value or _PLACEHOLDER.search(value) or _ENCRYPTED.fullmatch(value):
        return False
    if has_secret_format(value):
        return True
    if name_indicates_secret(name):
        return not _refutes(name, value)
    if not _PUBLIC_WORDS.isdisjoint(_words(name)):
        return False
    return _is_random_hex(value) or _is_random_text(value) or _is_secret_together(name, value)


def is_placeholder(value: str) -> bool:
    """True for words that ask for another value, such as "change-me" and "tbd"."""
    words = set(_words(value))
    is_filled = words <= _PLACEHOLDER_WORDS | _FILLING_WORDS and words & _PLACEHOLDER_WORDS
    return bool(is_filled) or _PLACEHOLDER.search(value) is not None


def arguments_look_secret(arguments: Sequence[str]) -> bool:
    """True for a secret in `name=value` or `--name value`, a random value after a name, or a
    secret of a known format.
    """
    return any(starmap(_argument_looks_secret, zip_longest(arguments, arguments[1:], fillvalue="")))


def _argument_looks_secret(argument: str, following: str) -> bool:
    match = _ARGUMENT.fullmatch(argument)
    if match and (match[3] or name_indicates_secret(match[2])):
        value = match[3] or following
        if not re.match(r"-|\W?[$`]", value):  # an option or a reference
            return looks_secret(match[2] if match[1] or match[3] else "", value)
    return has_secret_format(argument)


def name_indicates_secret(name: str) -> bool:
    """True if the name indicates a secret, and neither a reference to a secret nor a description of
    one.
    """
    words = _words(name)
    while len(words) > 1 and (words[-1] in _NEUTRAL_ENDINGS or words[-1].isdigit()):
        words.pop()
    if not words or words[0] in _DESCRIBING:
        return False
    if words[-1] in ("key", "keys"):
        return len(words) > 1 and words[-2] in _SECRET_KEYS
    return words[-1] in _SECRET_WORDS or words[-1].endswith(_SECRET_ENDINGS)


# Inputs of pulumi-aws that refer to a secret, a role or a KMS key, or select a mode.
_REFERENCE = re.compile(
    r".*(auth|authorization|encryptionkey)|(authorizer)?credentials?|tokens|httptokens|runtimeenvironmentsecrets"
    r"|(client|.*creation|eventsource|update|viewversion)tokens?",
    re.IGNORECASE,
)
_OTHER_SECRET = re.compile(
    r"(source)?customerkey|datakey|hostkey(body)?|plaintext|servicejson|tokenkey", re.IGNORECASE
)

# Inputs with the environment variables, arguments or options of an application, or with the headers
# of the requests to it.
ENVIRONMENT = re.compile(
    r"customheaders|environments?|\w*environmentvariables|environmentproperties|envs|(stage)?variables"
    r"|stagevariableoverrides|defaultarguments|requestparameters",
    re.IGNORECASE,
)


def is_secret_input(name: str) -> bool:
    """True if an input of a resource with this name is a secret. Write-only inputs end with Wo."""
    name = re.sub("Wo$", "", name)
    return (
        name_indicates_secret(name) and not _REFERENCE.fullmatch(name)
    ) or _OTHER_SECRET.fullmatch(name) is not None


def _is_secret_together(name: str, value: str) -> bool:
    """True for names such as GITHUB_KEY and TOKEN_GITHUB with the value of a token. The name alone
    does not indicate a secret.
    """
    words = _words(name)
    if not words or words[0] in _DESCRIBING or words[-1] in _DESCRIBING_ENDINGS:
        return False
    if words[-1] in ("key", "keys"):
        return (
            len(words) > 1
            and words[-2] not in _HARMLESS_KEYS
            and (_has_token(value) or _UUID.fullmatch(value) is not None)
        )
    keys = any(first in _SECRET_KEYS and second == "key" for first, second in pairwise(words))
    return (keys or not _SECRET_WORDS.isdisjoint(words)) and _has_token(value)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _refutes(name: str, value: str) -> bool:
    """True if the value is not a secret, although the name indicates one."""
    if _is_random_text(value):
        return False  # A random value with slashes is not a path.
    if _REFUTING.fullmatch(value.strip()):
        return True
    if _words(name)[-1] == "auth" and _AUTHENTICATION_MODES.issuperset(_words(value)):
        return True
    # A name such as DB_SECRET often holds the name of a secret. A name such as DB_PASSWORD does
    # not.
    return (
        not _words(name)[-1].startswith(("pass", "pw"))
        and len(value) <= _NAME_CHARS_MAX
        and _NAMES_A_SECRET.fullmatch(value) is not None
    )


def _is_random_hex(value: str) -> bool:
    """True for a key of 128, 192 or 256 bits in hexadecimal."""
    return (
        re.fullmatch(r"([0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})", value, re.IGNORECASE) is not None
        and len(set(value)) > 6
    )


def _has_token(value: str) -> bool:
    """True if the value is one word with a long run of random letters and digits."""
    if re.fullmatch(r"[A-Za-z0-9+/=_-]+", value) is None:
        return False
    return any(
        _changes(run) >= _CHANGES_MIN and _mean_letters(run) < _TOKEN_LETTERS_MEAN
        for run in _RUN.findall(value)
    )


def _changes(run: str) -> float:
    """Share of the pairs of neighbours of different kinds: digit, upper case, lower case. 0 without
    digits.
    """
    kinds = [(char.isdigit(), char.isupper()) for char in run]
    return (
        sum(first != second for first, second in pairwise(kinds)) / (len(run) - 1)
        if (True, False) in kinds
        else 0.0
    )


def _mean_letters(value: str) -> float:
    """Mean length of the runs of letters: of words in a name, and of random letters in a token."""
    letters = _WORD.findall(re.sub(r"\d", " ", value))
    return sum(map(len, letters)) / max(len(letters), 1)


def _is_random_text(value: str) -> bool:
    single_token = re.fullmatch(r"[A-Za-z0-9+/=_-]+", value) is not None
    if len(value) < _RANDOM_CHARS_MIN or not single_token or value.startswith(_PUBLIC_KEYS):
        return False
    if re.fullmatch(r"[a-z0-9]+|[A-Z0-9]+", value):
        # The length of a key in hexadecimal is checked above. Other lengths are hashes.
        return re.fullmatch(r"[0-9a-f]+", value, re.IGNORECASE) is None and _has_token(value)
    mixed = re.search(r"[a-z]", value) and re.search(r"[A-Z]", value) and re.search(r"[0-9]", value)
    if not mixed or _mean_letters(value) >= _WORD_CHARS_MEAN:
        return False  # Names and paths consist of words.
    frequencies = (count / len(value) for count in Counter(value).values())
    return -sum(frequency * math.log2(frequency) for frequency in frequencies) >= _ENTROPY_MIN
