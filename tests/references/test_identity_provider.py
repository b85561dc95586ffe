"""`make references`: Keycloak as in docs/guides/identity-providers.md."""

import html
import json
import re
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow, Client
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.models import Identity
from gatehouse.features.identity.oidc import OidcIdentityProvider

from sandbox import child_processes
from sandbox.ports import free_port
from tests import requires
from tests.references.maven import FOLDER, listens, maven

VERSION = "26.5.6"
ORIGIN, CLIENT_ID, SECRET = "http://console.test", "console", "secret-of-the-client"
USER, PASSWORD = "alice", secrets.token_hex(8)
REALM = {
    "realm": "gatehouse",
    "enabled": True,
    "groups": [{"name": "platform"}],
    "users": [
        {
            "username": USER,
            "email": "alice@example.com",
            "firstName": "Alice",
            "lastName": "Example",
            "enabled": True,
            "credentials": [{"type": "password", "value": PASSWORD}],
            "groups": ["/platform"],
        }
    ],
    "clients": [
        {
            "clientId": CLIENT_ID,
            "secret": SECRET,
            "redirectUris": [f"{ORIGIN}/sign-in/callback"],
            "attributes": {
                "post.logout.redirect.uris": f"{ORIGIN}/",
                "pkce.code.challenge.method": "S256",
            },
            "protocolMappers": [
                {
                    "name": "groups",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-group-membership-mapper",
                    "config": {
                        "claim.name": "groups",
                        "full.path": "false",
                        "id.token.claim": "true",
                    },
                }
            ],
        }
    ],
}

pytestmark = [pytest.mark.slow, requires.program("java"), requires.program("mvn")]


@pytest.fixture(scope="module")
def issuer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
    maven("copy", f"-Dartifact={artifact}", f"-DoutputDirectory={FOLDER}")
    folder, port = tmp_path_factory.mktemp("keycloak"), free_port()
    with zipfile.ZipFile(FOLDER / f"keycloak-quarkus-dist-{VERSION}.zip") as package:
        package.extractall(folder)
    home = folder / f"keycloak-{VERSION}"
    imported = home / "data/import/gatehouse.json"
    imported.parent.mkdir(parents=True)
    imported.write_text(json.dumps(REALM))
    options = ("--http-host=127.0.0.1", f"--http-port={port}", "--db=dev-mem", "--import-realm")
    command = ("sh", str(home / "bin/kc.sh"), "start-dev", *options)
    child = child_processes.start("keycloak", command, log=folder / "keycloak.log", cwd=home)
    try:
        child_processes.wait_until(child, lambda: listens(port), "ready", 180)
        yield f"http://127.0.0.1:{port}/realms/gatehouse"
    finally:
        child.stop()


def flow_of(issuer_url: str) -> AuthorizationCodeFlow:
    issuer = Issuer(issuer_url, CLIENT_ID, "groups", {"platform": Role.OWNER})
    provider = OidcIdentityProvider(issuer, Clock())
    client = Client(CLIENT_ID, SECRET, "openid", ORIGIN)
    key = Pepper({1: b"s" * 32}, 1)
    return AuthorizationCodeFlow(provider, client, Clock(), key, secrets.token_bytes, 300)


async def sign_in(
    flow: AuthorizationCodeFlow, browser: httpx.AsyncClient, subject: str = ""
) -> tuple[Identity, bool]:
    """Signs in, again if there is a subject. Returns whether Keycloak asked for the password."""
    url, cookie = await flow.start("/", step_up_subject=subject)
    reply = await browser.get(url)
    form = re.search(r'<form[^>]+action="([^"]+)"', reply.text)
    if form:
        credentials = {"username": USER, "password": PASSWORD}
        reply = await browser.post(html.unescape(form[1]), data=credentials)
    assert reply.status_code == 302, reply.text
    query = dict(parse_qsl(urlsplit(reply.headers["location"]).query))
    identity, _ = await flow.complete(cookie, query)
    return identity, form is not None


async def test_sign_in_step_up_and_sign_out(issuer_url: str, tmp_path: Path) -> None:
    flow = flow_of(issuer_url)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as browser:

        async def keep_cookies(_: httpx.Response) -> None:
            for cookie in browser.cookies.jar:
                cookie.secure = False

        browser.event_hooks = {"response": [keep_cookies]}
        identity, asked = await sign_in(flow, browser)
        assert (identity.roles, asked) == (frozenset({Role.OWNER}), True)
        assert Clock().now() - identity.proven_at < 60
        again, asked = await sign_in(flow, browser)
        assert (again.subject, asked) == (identity.subject, False)
        proven, asked = await sign_in(flow, browser, identity.subject)
        assert (proven.subject, asked) == (identity.subject, True)
        reply = await browser.get(await flow.sign_out_url())
        assert reply.status_code == 200
