"""Heuristic detection of secrets by the name and value of a setting. The value is neither stored nor reported.

The last words of a name decide whether the setting holds a secret: `API_KEY` does, and `API_KEY_HEADER` does not. A value can
refute the name, such as a Boolean, an ARN or a URL without a password. Some values are secrets under any name, because they have
the format of a token or are random. Precision and recall on a corpus: docs/guides/policies.md, "Detection of secrets".
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import starmap, zip_longest

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    {
        *(
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "passwords",
            "requirepass",
            "pwd",
            "pw",
            "pass",
            "secret",
            "secrets",
            "token",
            "tokens",
        ),
        *("credential", "credentials", "creds", "pepper", "auth", "apikey", "apikeys", "secretkey", "authtoken", "accesstoken"),
        *("dbpassword", "pgpassword", "privatekey", "pat"),
    }
)
# Words before `key` that make the key a secret.
_SECRET_KEYS = frozenset(
    {
        *("api", "access", "secret", "private", "signing", "encryption", "session", "master", "license", "licence", "account"),
        *("deploy", "service", "auth", "hmac", "jwt", "app", "application", "cookie", "webhook", "shared", "storage", "admin"),
        *("data", "root", "wrapping", "write", "ingest", "integration", "subscription"),
    }
)
# Words after a secret that do not change what the setting holds.
_NEUTRAL_ENDINGS = frozenset(
    {"value", "string", "base64", "b64", "base", "current", "previous", "old", "new", "primary", "secondary", "plaintext", "text"}
)
# First words of names that describe an amount or switch, such as MAX_TOKENS and ENABLE_AUTH.
_DESCRIBING = frozenset(
    {"max", "min", "num", "total", "limit", "count", "enable", "enabled", "disable", "use", "require", "has", "public"}
)
# Endings of names whose values are random but public.
_PUBLIC_WORDS = frozenset(
    {
        *(
            "sha",
            "sha1",
            "sha256",
            "hash",
            "digest",
            "checksum",
            "fingerprint",
            "commit",
            "revision",
            "version",
            "id",
            "ids",
            "uuid",
        ),
        *("etag", "build", "arn", "image", "thumbprint", "public", "certificate", "cert", "integrity", "nonce"),
    }
)
# Values that a setting with the name of a secret can have although it holds none: switches, numbers, durations, references.
_REFUTING = re.compile(
    r"(true|false|yes|no|on|off|none|null|enabled|disabled|required|optional|basic|bearer|oauth2?|oidc|saml|jwt|iam|scram|md5|ldap)"
    r"|\d{1,5}|\d+(\.\d+)?(ms|s|m|h|d|min|sec)"
    r"|arn:[^\s]+|\$\w+|\$\{[^}]*\}|\{\{[^}]*\}\}|\$\([^)]*\)|<[^>]*>"
    r"|(file|https?|ssm|secretsmanager|vault|kms)://[^\s@]*|~?\.{0,2}/[\w./-]+"
    r"|([a-z][a-z0-9_-]*/)+[a-z][a-z0-9_-]*",
    re.IGNORECASE,
)
_AUTHENTICATION_MODES = frozenset({"password", "token", "key", "certificate", "mtls", "kerberos", "iam", "or", "and"})
_NAMES_A_SECRET = re.compile(r"[a-z][a-z0-9_/-]*(secret|credential|token|password|key|pepper)s?", re.IGNORECASE)
# Formats of tokens: AWS, private keys, GitHub, GitLab, Slack, Stripe, Google, npm, PyPI, SendGrid, JWTs, passwords in URLs.
_FORMATS = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,}|glpat-[\w-]{20}"
    r"|xox[abeprs]-|xapp-\d-|[sr]k_(live|test)_[A-Za-z0-9]{16,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}"
    r"|SG\.[\w-]{22}\.[\w-]{43}|eyJ[\w-]{10,}\.eyJ|://[^/\s:@]*:[^/\s@${<]+@|(?i:password|pwd|accountkey|sharedaccesskey)=[^;\s]{6,}"
)
_ARGUMENT = re.compile(r"--?(?P<name>[A-Za-z][\w-]*)=(?P<value>.+)", re.DOTALL)
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w-]*)")
# The first bytes of public keys in DER and OpenSSH format, in base64.
_PUBLIC_KEYS = ("MIIBI", "MIICI", "MFkw", "MHYw", "MCow", "AAAAB3", "AAAAC3", "AAAAE2")
_RANDOM_CHARS_MIN = 32
_ENTROPY_MIN = 4.0  # Bits per character. At this length, random base64 has at least 4.5; words and names have less than 4.
_WORD_CHARS_MEAN = 4.0  # Mean length of the runs of letters in names such as AcmeGatewayServiceV2. Random base64 has less than 3.


def looks_secret(name: str, value: str) -> bool:
    """True if the name and the value together indicate a secret, or the value alone does."""
    if not value:
        return False
    if _FORMATS.search(value):
        return True
    if name_indicates_secret(name):
        return not _refutes(name, value)
    return not _is_public(name) and (_is_random_hex(value) or _is_random_text(value))


def arguments_look_secret(arguments: Sequence[str]) -> bool:
    """True for a command line with a secret in `--name=value` or `--name value`, or a secret of a known format."""
    return any(starmap(_argument_looks_secret, zip_longest(arguments, arguments[1:], fillvalue="")))


def _argument_looks_secret(argument: str, following: str) -> bool:
    if match := _ARGUMENT.fullmatch(argument):
        return looks_secret(match["name"], match["value"])
    if (match := _OPTION.fullmatch(argument)) and name_indicates_secret(match["name"]) and not following.startswith("-"):
        return looks_secret(match["name"], following)
    return _FORMATS.search(argument) is not None


def name_indicates_secret(name: str) -> bool:
    """True if the name indicates a secret, and neither a reference to a secret nor a description of one."""
    words = _words(name)
    while len(words) > 1 and (words[-1] in _NEUTRAL_ENDINGS or words[-1].isdigit()):
        words.pop()
    if not words or words[0] in _DESCRIBING:
        return False
    if words[-1] in ("key", "keys"):
        return len(words) > 1 and words[-2] in _SECRET_KEYS
    return words[-1] in _SECRET_WORDS


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _refutes(name: str, value: str) -> bool:
    """True if the value is not a secret, although the name indicates one."""
    if _REFUTING.fullmatch(value.strip()):
        return True
    if _words(name)[-1] == "auth" and _AUTHENTICATION_MODES.issuperset(_words(value)):
        return True
    # A name such as DB_SECRET often holds the name of a secret. A name such as DB_PASSWORD does not.
    return not _words(name)[-1].startswith(("pass", "pw")) and _NAMES_A_SECRET.fullmatch(value) is not None


def _is_public(name: str) -> bool:
    return not _PUBLIC_WORDS.isdisjoint(_words(name))


def _is_random_hex(value: str) -> bool:
    """True for a key of 128, 192 or 256 bits in hexadecimal."""
    return re.fullmatch(r"([0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})", value, re.IGNORECASE) is not None and len(set(value)) > 6


def _is_random_text(value: str) -> bool:
    single_token = re.fullmatch(r"[A-Za-z0-9+/=_-]+", value) is not None
    mixed = re.search(r"[a-z]", value) and re.search(r"[A-Z]", value) and re.search(r"[0-9]", value)
    if len(value) < _RANDOM_CHARS_MIN or not single_token or not mixed or value.startswith(_PUBLIC_KEYS):
        return False
    letters = _WORD.findall(re.sub(r"\d", " ", value))
    if sum(map(len, letters)) / len(letters) >= _WORD_CHARS_MEAN:
        return False  # Names and paths consist of words.
    frequencies = (count / len(value) for count in Counter(value).values())
    return -sum(frequency * math.log2(frequency) for frequency in frequencies) >= _ENTROPY_MIN
