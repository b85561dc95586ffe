"""Request and response shapes of browser sessions."""

from typing import Annotated, ClassVar

from gatehouse.core.actor import ActorType, Session
from gatehouse.core.clock import rfc3339
from gatehouse.core.roles import Role
from gatehouse.platform.web.fields import Input, Instant, ShownOnce, View, doc, view_of

#: Beginning of the fragment of a sign-in link. The web UI
#: (runtime/web/src/identity/signInLink.ts) reads the code after it.
CODE_FRAGMENT = "#sign-in="


class EndSessions(Input):
    """Query parameters for a sign-out."""

    everybody: Annotated[bool, doc("End the sessions of all users. Requires the role owner.")] = (
        False
    )


class ListSessions(Input):
    """Query parameters for listing sessions."""

    everybody: Annotated[
        bool, doc("List the sessions of all users. Requires the role owner, operator or auditor.")
    ] = False


class SessionView(View, kw_only=True):
    """A browser session."""

    id: str
    actor_type: ActorType
    actor_id: str
    created_at: Instant
    seen_at: Annotated[Instant, doc("Time of the last use.")]
    proven_at: Annotated[Instant | None, doc("Time of the last authentication.")]
    ends_at: Annotated[
        Instant, doc("Latest time at which the session expires. An unused session expires earlier.")
    ]
    roles: Annotated[
        list[str], doc("Roles of a person. Empty for a key, whose scopes grant its roles.")
    ]
    source_address: str
    user_agent: str
    current: Annotated[bool, doc("True if this request uses the session.")]


class CurrentSession(View, kw_only=True):
    session: SessionView
    csrf_token: Annotated[
        str,
        doc(
            "Send this value in the `X-CSRF-Token` header of every request in this "
            "session that can change data."
        ),
    ]
    roles: list[str]
    step_up_max_age_s: Annotated[
        int, doc("Maximum age of the last sign-in, in seconds, for operations with `x-step-up`.")
    ]


class CallerView(View, kw_only=True):
    """The credential or session of a request."""

    example: ClassVar = {"actor_id": "3fGh82kLmQ0a", "roles": ["operator"], "environment": "prod"}

    actor_type: Annotated[str, doc("bootstrap, key or person.")]
    actor_id: Annotated[str, doc("ID of the key or of the person, or `bootstrap`.")]
    roles: list[str]
    environment: Annotated[str, doc("Environment of the deployment, such as `prod`.")]


class CreatedSignInLink(View):
    """A new sign-in link. Only this response contains the link."""

    example: ClassVar = {"path": f"/{CODE_FRAGMENT}gtk_signin_{43 * 'x'}"}

    path: Annotated[
        ShownOnce,
        doc(
            "Path to append to the URL of the console. Browsers do not send the "
            "fragment, which contains the code."
        ),
    ]
    expires_at: Instant


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

    bootstrap: Annotated[bool, doc("True if the bootstrap token is accepted.")]
    issuer: Annotated[str, doc("URL of the identity provider. Empty: none.")]
    claim: Annotated[str, doc("Claim of its tokens that determines the roles.")]
    mappings: list[RoleMapping]


class EndedSessions(View):
    ended: Annotated[int, doc("Number of ended sessions.")]


def session_view(session: Session, *, current: bool) -> SessionView:
    proven_at = rfc3339(session.proven_at) if session.proven_at else None
    roles = list(session.roles)
    return view_of(SessionView, session, proven_at=proven_at, roles=roles, current=current)
