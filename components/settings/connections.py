"""The parts of a stack file about what the runtime meets outside of the stack, and the variables that they become."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from components.settings.sections import CIDR, Section
from components.settings.validators import Flag, listed, text
from components.settings.workloads import OFF

if TYPE_CHECKING:
    from components.settings.model import Settings

ROLES = "owner|operator|issuer|auditor|service"
BROUGHT = r"arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:gatehouse/[a-z]+/[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}"
URL = r"https://[^/\s]+\S*"


class SignIn(Section):
    """How people sign in at the console with your identity provider, beside keys."""

    issuer: Annotated[
        str,
        text(rf"{OFF}|{URL}", f"{OFF}, or an https URL"),
        Field(description="Whose JWTs people may use at the console, as in `iss`. none: nobody's."),
    ]
    audience: Annotated[str, text(r"\S{1,200}", f"{OFF}, or 1 to 200 letters"), Field(description="Our name there, as in `aud`.")]
    jwks_url: Annotated[
        str,
        text(rf"{OFF}|{URL}", f"{OFF}, or an https URL"),
        Field(description="Where the issuer's keys are. none: where its discovery document says."),
    ]
    claim: Annotated[
        str,
        text(r"[\w.:/-]{1,100}", "the name of a claim; dots go deeper"),
        Field(description="The claim that roles are read from, such as groups or realm_access.roles."),
    ]
    roles: Annotated[
        tuple[str, ...],
        listed(rf"[^,\s][^,]*=({ROLES})", 0, 50, f"values of the claim with the role they give, value=role ({ROLES})"),
        Field(description="Which value of the claim gives which role, such as platform=owner."),
    ]

    @property
    def on(self) -> bool:
        """Whether anybody signs in so."""
        return self.issuer != OFF


class Webhooks(Section):
    """Where the console may send notices of what happens to keys."""

    public: Annotated[
        Flag,
        Field(
            description="The console may connect to public addresses, by HTTPS alone. false: webhooks there do not arrive; "
            "switch them off with GATEHOUSE_FEATURES=webhooks=off in variables."
        ),
    ]
    topic_arn: Annotated[
        str,
        text(rf"{OFF}|arn:aws:sns:[a-z0-9-]+:\d{{12}}:[A-Za-z0-9_-]{{1,256}}", f"{OFF}, or the ARN of an SNS topic"),
        Field(
            description="SNS topic that is told the same, which the console may publish to; in the stack's region, under a key "
            "that lets the console's role in. none tells no topic."
        ),
    ]
    networks: Annotated[
        tuple[str, ...],
        listed(rf"{CIDR}/\d{{1,2}}", 0, 10, "IPv4 networks"),
        Field(description="Private networks in which webhooks may be, on port 443."),
    ]


class Leaks(Section):
    """Reports of keys that were found in public."""

    secret_arn: Annotated[
        str,
        text(rf"{OFF}|{BROUGHT}", f"{OFF}, or the whole ARN of a secret whose name begins with gatehouse/ and the environment"),
        Field(
            description="Secret that other scanners than GitHub's sign their reports with (Standard Webhooks: whsec_ and "
            "base64). You make it once, under the stack's key for secrets. none takes no such reports."
        ),
    ]


class Moving(Section):
    """Moving in from an older deployment."""

    legacy_files: Annotated[
        tuple[str, ...],
        listed(
            r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s,*?$]+\.json",
            0,
            10,
            "objects in S3, such as s3://old-bucket/api_keys.json",
        ),
        Field(
            description="The api_keys.json and ngrok_urls.json of an older deployment: the console may read and replace exactly "
            "these, and removes from them what is purged. The bucket is in the stack's region; its own policy and key must "
            "let the console's role in as well."
        ),
    ]


SETTABLE = r"GATEHOUSE_[A-Z_]+=\S.*"
"""One entry of the settings `variables`."""


def told(settings: "Settings") -> dict[str, str]:
    """The optional variables that this stack sets, with their values; what says nothing is left out."""
    sign_in, webhooks = settings.sign_in, settings.webhooks
    own = {
        "GATEHOUSE_LEGACY_FILES": ",".join(settings.moving.legacy_files),
        "GATEHOUSE_WEBHOOK_NETWORKS": ",".join(webhooks.networks),
        "GATEHOUSE_NOTIFICATION_TOPIC": "" if webhooks.topic_arn == OFF else webhooks.topic_arn,
    }
    if sign_in.on:
        own |= {
            "GATEHOUSE_OIDC_ISSUER": sign_in.issuer,
            "GATEHOUSE_OIDC_AUDIENCE": sign_in.audience,
            "GATEHOUSE_OIDC_JWKS_URL": "" if sign_in.jwks_url == OFF else sign_in.jwks_url,
            "GATEHOUSE_OIDC_CLAIM": sign_in.claim,
            "GATEHOUSE_OIDC_ROLES": ",".join(sign_in.roles),
        }
    return {name: value for name, value in {**own, **dict(_more(settings))}.items() if value}


def brought(settings: "Settings") -> dict[str, str]:
    """The optional variables that ECS fills from a secret which you made, with its ARN."""
    arn = settings.leaks.secret_arn
    return {"GATEHOUSE_LEAK_SECRET": arn} if arn != OFF else {}


def outward(settings: "Settings") -> dict[str, bool]:
    """What needs a way to the internet from the console, by the key of the settings that asks for it."""
    return {
        "telemetry.collector": settings.telemetry.on,
        "sign_in.issuer": settings.sign_in.on,
        "webhooks.public": settings.webhooks.public,
        "webhooks.topic_arn": settings.webhooks.topic_arn != OFF,
    }


def _more(settings: "Settings") -> Iterator[tuple[str, str]]:
    for entry in settings.variables:
        name, _, value = entry.partition("=")
        yield name, value
