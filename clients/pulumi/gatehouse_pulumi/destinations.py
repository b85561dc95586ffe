"""Destinations of tokens: files, secrets in AWS Secrets Manager, and parameters in AWS Systems
Manager.

No error contains a value: it has the argument, the operation and the error code of the service.
"""

import hashlib
import importlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatehouse_pulumi.errors import ProviderError

#: The arguments of which a destination has exactly one.
KINDS = ("file", "secret", "parameter")
_CONNECT_S, _READ_S = 5, 20


class Destination(ABC):
    """Contains one token. `start`: the first characters of a token, or "" if they are not known.
    Every method raises ProviderError.
    """

    @abstractmethod
    def check(self) -> None:
        """Raises an error if the destination cannot be written, as far as can be seen before."""

    @abstractmethod
    def write(self, token: str, operation: str) -> str:
        """Writes a token and returns the version of the destination. operation: that which
        created the token. Idempotent.
        """

    @abstractmethod
    def contains(self, start: str) -> bool:
        """True if the destination contains the token with this start."""

    @abstractmethod
    def clear(self, start: str) -> None:
        """Removes the token with this start, if the destination belongs to the token."""


def destination(arguments: Mapping[str, str]) -> Destination:
    """The destination that the arguments name."""
    if "file" in arguments:
        return _File(Path(arguments["file"]))
    if "secret" in arguments:
        return _Secret(arguments["secret"], arguments.get("region"))
    return _Parameter(arguments["parameter"], arguments.get("region"))


class _File(Destination):
    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        folder = self._path.parent
        if not folder.is_dir():
            raise ProviderError(f"destination.file: the folder {folder} does not exist. Create it.")
        if not os.access(folder, os.W_OK | os.X_OK) or self._path.is_dir():
            raise ProviderError(
                f"destination.file: {self._path} cannot be written. Choose another path, or change "
                "the permissions of the folder."
            )

    def write(self, token: str, operation: str) -> str:
        if self._read() == token:
            return ""
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token)
            temporary.replace(self._path)
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            raise ProviderError(
                f"destination.file: {self._path} cannot be written: {exc.strerror}."
            ) from None
        return ""

    def contains(self, start: str) -> bool:
        return bool(start) and self._read().startswith(start)

    def clear(self, start: str) -> None:
        if self.contains(start):
            with suppress(OSError):
                self._path.unlink()

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return ""


class _Aws(Destination):
    argument = service = ""

    def __init__(self, name: str, region: str | None) -> None:
        self.name = name
        # boto3 reads AWS_DEFAULT_REGION only.
        of_arn = name.split(":")[3] if name.startswith("arn:") else ""
        self._region = region or of_arn or os.environ.get("AWS_REGION")

    def call(self, operation: str, ignored: str = "", **parameters: Any) -> dict[str, Any] | None:
        """The response of an operation, or None if it fails with the error code `ignored`."""
        try:
            boto3 = importlib.import_module("boto3")
        except ImportError:
            raise ProviderError(
                f"destination.{self.argument} requires boto3. Run: pip install "
                "'gatehouse-pulumi[aws]'"
            ) from None
        botocore = importlib.import_module("botocore")
        try:
            config = botocore.config.Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S)
            client = boto3.session.Session().client(
                self.service, region_name=self._region, config=config
            )
            response: dict[str, Any] = getattr(client, operation)(**parameters)
        except botocore.exceptions.ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", ""))
            if ignored and code == ignored:
                return None
            raise ProviderError(
                f"destination.{self.argument}: {self._operation(operation)} of {self.name} failed "
                f"({code}). {self._remedy(code, operation)}"
            ) from None
        except botocore.exceptions.NoRegionError:
            raise ProviderError(
                "destination.region is missing. Set it, or AWS_REGION in the environment."
            ) from None
        except botocore.exceptions.BotoCoreError as exc:
            raise ProviderError(
                f"destination.{self.argument}: {self._operation(operation)} of {self.name} failed "
                f"({type(exc).__name__}). Check the AWS credentials and the network."
            ) from None
        return response

    def _operation(self, operation: str) -> str:
        return "".join(word.capitalize() for word in operation.split("_"))

    def _remedy(self, code: str, operation: str) -> str:
        if code == "AccessDeniedException":
            return f"Allow {self.service}:{self._operation(operation)} for it."
        if "NotFound" in code:
            return f"Create the {self.argument} first, or correct its name or `region`."
        return "See the message of the service in AWS CloudTrail."


class _Secret(_Aws):
    argument, service = "secret", "secretsmanager"

    def check(self) -> None:
        self.call("describe_secret", SecretId=self.name)

    def write(self, token: str, operation: str) -> str:
        # A repeated request with the same token and content has no effect.
        version = hashlib.sha256(operation.encode()).hexdigest()
        written = self.call(
            "put_secret_value", SecretId=self.name, SecretString=token, ClientRequestToken=version
        )
        return str((written or {})["VersionId"])

    def clear(self, start: str) -> None:
        """Keeps the version: the secret is another resource."""

    def contains(self, start: str) -> bool:
        if not start:
            return False
        found = self.call("get_secret_value", "ResourceNotFoundException", SecretId=self.name)
        return str((found or {}).get("SecretString", "")).startswith(start)


class _Parameter(_Aws):
    argument, service = "parameter", "ssm"

    def check(self) -> None:
        self._found()

    def write(self, token: str, operation: str) -> str:
        found = self._found()
        if found.get("Value") == token:
            return str(found["Version"])
        written = self.call(
            "put_parameter", Name=self.name, Value=token, Type="SecureString", Overwrite=True
        )
        return str((written or {})["Version"])

    def contains(self, start: str) -> bool:
        return bool(start) and str(self._found().get("Value", "")).startswith(start)

    def clear(self, start: str) -> None:
        if self.contains(start):
            self.call("delete_parameter", "ParameterNotFound", Name=self.name)

    def _found(self) -> dict[str, Any]:
        found = self.call("get_parameter", "ParameterNotFound", Name=self.name, WithDecryption=True)
        return dict((found or {}).get("Parameter", {}))
