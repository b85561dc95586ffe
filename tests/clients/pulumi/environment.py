"""A console and an AWS emulator, and everything that a provider or the Pulumi CLI has shown."""

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatehouse_client import ConsoleClient

from sandbox.emulator.server import Emulator
from tests.runtime.commands.cli.conftest import BOOTSTRAP, running_console
from tests.runtime.conftest import Database

REGION = "eu-west-1"
#: A token of a key or the secret of a webhook.
TOKEN = re.compile(r"gtk_(?:test|live)_[0-9A-Za-z]{20,}|whsec_[0-9A-Za-z+/=]{20,}")


@dataclass
class Environment:
    """variables: of a process that uses the console and AWS. shown: the texts of all processes."""

    console: ConsoleClient
    url: str
    emulator: Emulator
    folder: Path
    variables: dict[str, str]
    shown: list[str] = field(default_factory=list)

    def aws(self, service: str) -> Any:
        return self.emulator.client(service, REGION)

    def create_secret(self, name: str) -> str:
        return str(self.aws("secretsmanager").create_secret(Name=name)["ARN"])

    @contextmanager
    def reader(self, *actions: str) -> Iterator[dict[str, str]]:
        """The variables of a user who may perform these actions only."""
        iam, name = self.emulator.client("iam", "us-east-1"), f"reader-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.emulator.permissions.enforce(True)
        yield {
            **self.variables,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        self.emulator.permissions.enforce(False)

    def secret_value(self, name: str) -> str:
        return str(self.aws("secretsmanager").get_secret_value(SecretId=name)["SecretString"])

    def keys(self, name: str) -> list[dict[str, Any]]:
        """All keys with a name, also those that have ended, oldest first."""
        found = [
            key
            for state in ("active", "expired", "disabled", "revoked", "deleted")
            for key in self.console.get(dict, "/v1/keys", search=name, state=state)["keys"]
            if key["name"] == name
        ]
        return sorted(found, key=lambda key: (key["created_at"], key["generation"]))

    def usable(self, name: str) -> list[str]:
        """IDs of the active keys with a name."""
        found = self.console.get(dict, "/v1/keys", search=name, state="active")["keys"]
        return [key["id"] for key in found if key["name"] == name]

    def tokens_shown(self) -> list[str]:
        """Tokens in what processes have shown."""
        shown = "\n".join(self.shown)
        assert BOOTSTRAP not in shown
        return TOKEN.findall(shown)


def variables(url: str, emulator: Emulator) -> dict[str, str]:
    key_id, secret = emulator.credentials
    removed = ("AWS_", "GATEHOUSE_", "PULUMI_", "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    return {
        **inherited,
        "GATEHOUSE_CONSOLE_URL": url,
        "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP,
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
    }


@contextmanager
def running(database: Database, folder: Path, **settings: str) -> Iterator[Environment]:
    with (
        running_console(database, folder, **settings) as url,
        Emulator.start() as emulator,
        ConsoleClient(url, BOOTSTRAP) as console,
    ):
        yield Environment(console, url, emulator, folder, variables(url, emulator))


def without(variables: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}
