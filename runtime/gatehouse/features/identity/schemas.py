"""Request and response shapes of browser sessions."""

from typing import Annotated, ClassVar

from msgspec import Meta

from gatehouse.core.actor import ActorType, Session
from gatehouse.core.clock import rfc3339
from gatehouse.core.roles import Role
from gatehouse.platform.web.fields import Input, Instant, View, view_of

#: Beginning of the fragment of a sign-in link. The web UI
#: (runtime/web/src/identity/signInLink.ts) reads the code after it.
CODE_FRAGMENT = "#sign-in="


class EndSessions(Input):
    """Query parameters for a sign-out."""

    everybody: Annotated[
        bool, Meta(description="End the sessions of all users. Requires the role owner.")
    ] = False


class ListSessions(Input):
    """Query parameters for listing sessions."""

    everybody: Annotated[
        bool,
        Meta(
            description="List the sessions of all users. Requires the role owner, operator or "
            "auditor."
        ),
    ] = False


class SessionView(View, kw_only=True):
    """A browser session."""

    id: str
    actor_type: ActorType
    actor_id: str
    created_at: Instant
    seen_at: Annotated[Instant, Meta(description="Time of the last use.")]
    proven_at: Annotated[Instant | None, Meta(description="Time of the last authentication.")]
    ends_at: Annotated[
        Instant,
        Meta(
            description=(
                "Latest time at which the session expires. An unused session expires earlier."
            )
        ),
    ]
    roles: Annotated[
        list[str],
        Meta(description="Roles of a person. Empty for a key, whose scopes grant its roles."),
    ]
    source_address: str
    user_agent: str
    current: Annotated[bool, Meta(description="True if this request uses the session.")]


class CurrentSession(View, kw_only=True):
    session: SessionView
    csrf_token: Annotated[
        str,
        Meta(
            description=(
                "Send this value in the `X-CSRF-Token` header of every request in this "
                "session that can change data."
            )
        ),
    ]
    roles: list[str]
    step_up_max_age_s: Annotated[
        int,
        Meta(
            description=(
                "Maximum age of the last sign-in, in seconds, for operations with `x-step-up`."
            )
        ),
    ]


class CreatedSignInLink(View):
    """A new sign-in link. Only this response contains the link."""

    example: ClassVar = {"path": f"/{CODE_FRAGMENT}gtk_signin_{43 * 'x'}"}

    path: Annotated[
        str,
        Meta(
            description=(
                "Path to append to the URL of the console. Browsers do not send the "
                "fragment, which contains the code."
            )
        ),
    ]
    expires_at: Instant

    def __repr__(self) -> str:
        return f"CreatedSignInLink({self.expires_at})"


class SessionList(View):
    sessions: list[SessionView]


class RoleMapping(View):
    """A value of the claim, and the role that it grants."""

    example: ClassVar = {"value": "platform-team", "role": Role.OPERATOR}

    value: str
    role: Role


class SignInMethods(View, kw_only=True):
    """How users can sign in, besides keys that grant a role."""

    example: ClassVar = {"issuer": "https://login.example.com", "claim": "groups"}

    bootstrap: Annotated[bool, Meta(description="True if the bootstrap token is accepted.")]
    issuer: Annotated[str, Meta(description="URL of the identity provider. Empty: none.")]
    claim: Annotated[str, Meta(description="Claim of its tokens that determines the roles.")]
    mappings: list[RoleMapping]


class EndedSessions(View):
    ended: Annotated[int, Meta(description="Number of ended sessions.")]


def session_view(session: Session, *, current: bool) -> SessionView:
    proven_at = rfc3339(session.proven_at) if session.proven_at else None
    roles = list(session.roles)
    return view_of(SessionView, session, proven_at=proven_at, roles=roles, current=current)
