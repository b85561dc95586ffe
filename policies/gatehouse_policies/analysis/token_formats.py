"""Formats of the tokens and keys of well-known providers, by which a value is a secret under any
name.

A format has a prefix or structure that is assigned to the provider, so that ordinary values do not
have it.
"""

import re

_FORMATS: dict[str, str] = {
    "AWS": r"(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|ABSK[A-Za-z0-9+/]{100}|bedrock-api-key-[\w+/=]{16}",
    "private keys": r"-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "JSON Web Tokens": r"eyJ[\w-]{10,1000}\.eyJ",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40}",
    "GitLab": (
        r"gl(pat|agent|cbt|dt|ffct|ft|imt|oas|ptt|rt|rtr|soat|wt)-[\w.-]{20}|GR1348941[\w-]{20}"
    ),
    "Atlassian": r"AT(ATT|CTT|BB|STT)[\w=-]{28}",
    "Slack": r"xox[abeprs]-|xapp-\d-|hooks\.slack\.com/(services|workflows|triggers)/[\w/+-]{20}",
    (
        "webhooks of Teams and Discord"
    ): r"webhook\.office\.com/webhookb2/[\w-]{20}|discord(app)?\.com/api/webhooks/\d+/[\w-]{20}",
    "Stripe": r"[sr]k_(live|test|prod)_[A-Za-z0-9]{16}|whsec_[A-Za-z0-9+/]{24}",
    "Square": r"sq0(atp|csp)-[\w-]{22}",
    "Shopify": r"shp(at|ca|pa|ss)_[0-9A-Fa-f]{32}",
    "Shippo and EasyPost": r"shippo_(live|test)_[0-9a-f]{40}|EZ[AT]K[A-Za-z0-9]{54}",
    "Google": r"AIza[\w-]{35}|GOCSPX-[\w-]{28}",
    "Microsoft Entra ID": r"[\w~.-]{3}\dQ~[\w~.-]{31}",
    "Alibaba Cloud": r"LTAI[A-Za-z0-9]{20}",
    "Cloudflare": r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}",
    "DigitalOcean": r"do[opr]_v1_[0-9a-f]{64}",
    "Heroku": r"HRKU-[\w-]{36}",
    "PlanetScale": r"pscale_(pw|tkn|oauth)_[\w=.-]{32}",
    "HashiCorp": r"hv[bsr]\.[\w-]{24}|[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60}",
    "Pulumi": r"pul-[0-9a-f]{40}",
    "Doppler": r"dp\.(pt|st|ct|sa|scim|audit)\.[\w.-]{40}",
    "1Password": r"ops_eyJ[\w+/=-]{100}|A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}(-[A-Z0-9]{5}){3}",
    "OpenShift": r"sha256~[\w-]{43}",
    "Databricks": r"dapi[0-9a-f]{32}",
    "Airtable": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    "Anthropic": r"sk-ant-[a-z]+\d\d-[\w-]{40}",
    "OpenAI": r"sk-(proj|svcacct|admin)-[\w-]{40}|sk-[\w-]{20,200}T3BlbkFJ[\w-]{20}",
    "Hugging Face": r"(hf|api_org)_[A-Za-z0-9]{34}",
    "Grafana": r"glc_[A-Za-z0-9+/]{32}|glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",
    "New Relic": r"NRAK-[A-Z0-9]{27}",
    "Dynatrace": r"dt0[a-z]\d\d\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}",
    "Sentry": r"sntrys_eyJ[\w+/=]{40}|sntryu_[0-9a-f]{64}",
    "SonarQube": r"sq[apu]_[A-Za-z0-9]{40}",
    "Linear": r"lin_api_[A-Za-z0-9]{40}",
    "Postman": r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    "Prefect": r"pnu_[A-Za-z0-9]{36}",
    "Adobe and Meta": r"p8e-[A-Za-z0-9]{32}|\d{15,16}\|[\w-]{27}",
    "Octopus Deploy": r"API-[A-Z0-9]{26}(?!\w)",
    "Harness": r"[ps]at\.[\w-]{22}\.[\w-]{24}\.[\w-]{20}",
    "registries of packages": (
        r"npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50}|rubygems_[0-9a-f]{48}|CLOJARS_[A-Za-z0-9]{60}|dckr_pat_[\w-]{27}"
        r"|AKCp[A-Za-z0-9]{69}|cmVmd[A-Za-z0-9]{59}"
    ),
    "email services": (
        r"SG\.[\w=-]{22}\.[\w=-]{43}|xkeysib-[0-9a-f]{64}-\w{16}|[0-9a-f]{32}-us\d{1,2}(?!\w)"
    ),
    "messaging services": r"\d{8,10}:[\w-]{35}(?![\w-])|SK[0-9a-f]{32}(?!\w)",
    "HTTP authorization": r"(?i:bearer|basic) (?=\D{0,200}\d)[\w+/=.~-]{16}",
}
# Passwords in URLs, connection strings and JSON, except references such as `${PASSWORD}`.
_PASSWORDS = (
    r"://[^/\s:@]*:[^/\s@${<]+@|(?i:password|pwd|(account|sharedaccess)key)"
    r'(=|": ?"(?!["{</]|arn:))(?!\W?[$`])[^;\s]{6}'
)
_ANY = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_FORMATS.values())})|{_PASSWORDS}")


def has_secret_format(value: str) -> bool:
    """True if the value contains a token in the format of a well-known provider, a private key or a
    URL with a password.
    """
    return _ANY.search(value) is not None
