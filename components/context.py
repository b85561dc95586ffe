"""What every component of a stack takes: its settings, names and contract."""

from dataclasses import dataclass, replace
from typing import Any

from components.contract import EXTERNAL, Contract, ContractService, Process, Secret, document, read
from components.naming import Naming
from components.settings.model import Settings
from components.settings.workloads import CoreSettings


@dataclass(frozen=True)
class Stack:
    """The settings, names and contract of a stack."""

    settings: Settings
    names: Naming
    contract: Contract

    @classmethod
    def of(cls, settings: Settings) -> "Stack":
        contract = read(
            functions=settings.sharing.functions,
            optional_variables=optional_variables(settings),
            external_secrets=external_secrets(settings),
        )
        cores = {core.process_name: _core(core) for core in settings.cores}
        existing = settings.existing_resources
        names = Naming(
            *(settings.stack, settings.account, settings.region, settings.name_prefix),
            *(existing.role_path, existing.permissions_boundary_arn),
        )
        contract = replace(
            contract, cores=cores, domain=settings.domain, cores_domain=settings.cores_domain or ""
        )
        return cls(settings, names, contract)

    @property
    def forwards_requests(self) -> bool:
        """Whether the gateway forwards requests to Cores."""
        features = optional_variables(self.settings).get("GATEHOUSE_FEATURES", "")
        return "proxy=off" not in (feature.strip() for feature in features.split(","))

    def has_collector(self, process: Process) -> bool:
        """Return whether an OpenTelemetry collector runs in the task. Only the ECS services of the
        runtime have a collector.
        """
        serves = process.name in self.contract.processes and bool(process.services)
        return serves and self.settings.telemetry.collector


def optional_variables(settings: Settings) -> dict[str, str]:
    """Return the value of each optional variable that the stack sets. An empty setting does not set
    its variable.
    """
    values = _from_settings(settings, secrets=False) | dict(
        entry.split("=", 1) for entry in settings.environment_variables
    )
    return {name: value for name, value in values.items() if value}


def external_secrets(settings: Settings) -> dict[str, str]:
    """Return the ARN of the secret for each optional variable that ECS injects."""
    return {name: arn for name, arn in _from_settings(settings, secrets=True).items() if arn}


def _from_settings(settings: Settings, *, secrets: bool) -> dict[str, str]:
    """Return the setting for each optional variable. "image" marks variables that are used only
    outside a stack.
    """
    rows = [
        row
        for row in document()["optional"]
        if row.get("setting", "image") != "image" and ("kind" in row) == secrets
    ]
    return {row["name"]: _value(settings, row["setting"]) for row in rows}


def _value(settings: Settings, key: str) -> str:
    """Return the setting at a dotted key as the value of a variable, or "" if the setting is
    empty.
    """
    if key.startswith("oidc.") and not settings.oidc.issuer:
        return ""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return ",".join(value) if isinstance(value, tuple) else str(value or "")


def _core(core: CoreSettings) -> Process:
    """Return the process definition of a Core. The image defines the command."""
    return Process(
        name=core.process_name,
        command=(),
        services=(ContractService(core.process_name, core.port, "", ""),),
        variables=("CORE_NAME", "CORE_URL", "GATEHOUSE_GATEWAY_URL"),
        secrets=(
            Secret("GATEHOUSE_CORE_TOKEN", core.process_name, EXTERNAL, "", core.token_secret_arn),
        ),
    )
