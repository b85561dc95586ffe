"""What settings of workloads must agree on with each other and with the rest of the stack file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.contract import read, settable
from components.settings.connections import outward
from components.settings.validators import shown
from components.settings.workloads import OFF

if TYPE_CHECKING:
    from components.settings.model import Settings

ROLLOUT_MINUTES_MAX = 720
"""A deployment holds the stack's state for as long as it moves traffic; a working day is enough to watch it."""

REQUESTS_S_EACH = 10
"""What one place of a function's concurrency answers in a second, with a tenth of a second for a request."""

Mistake = tuple[str, str]


def disagreements(settings: "Settings") -> Iterator[Mistake]:
    """Key and message of each value that is possible alone, but not with the others."""
    yield from _rollout(settings)
    yield from _rates(settings)
    yield from _cores(settings)
    yield from _deployer(settings)
    yield from _sharing(settings)
    yield from _connections(settings)


def _rollout(settings: "Settings") -> Iterator[Mistake]:
    rollout = settings.rollout
    if rollout.minutes > ROLLOUT_MINUTES_MAX:
        yield (
            "rollout.bake_minutes",
            f"is {rollout.bake_minutes}; allowed: with step_minutes and step_percent at most {ROLLOUT_MINUTES_MAX} minutes in "
            f"all, here {rollout.minutes}",
        )


def _rates(settings: "Settings") -> Iterator[Mistake]:
    """A service's own bound above the common one would never be reached."""
    for service, requests in settings.edge.service_requests_max().items():
        if requests > settings.edge.requests_max:
            yield (
                f"edge.{service}_requests_max",
                f"is {requests}; allowed: edge.requests_max ({settings.edge.requests_max}) or less",
            )


def _sharing(settings: "Settings") -> Iterator[Mistake]:
    """What the function cannot answer would come back as an error instead of a 429."""
    sharing = settings.sharing
    most = sharing.concurrency * REQUESTS_S_EACH
    if sharing.requests_s_max > most:
        yield (
            "sharing.requests_s_max",
            f"is {sharing.requests_s_max}; allowed: {REQUESTS_S_EACH} times sharing.concurrency ({most}) or less, for the "
            "function answers no more in time",
        )
    if sharing.log_role and not sharing.functions:
        yield "sharing.log_role", f"is true; allowed with sharing.form {sharing.form}: false, for there is no API that logs"


def _cores(settings: "Settings") -> Iterator[Mistake]:
    """A Core has a name and a port of its own, and reaches the gateway."""
    contract = read()
    services = {service.port: service.name for service in contract.services.values()}
    names = dict.fromkeys((*contract.processes, *contract.services), "the gateway itself")
    ports = {port: f"the {service} service" for port, service in services.items()}
    prefix = _secrets(settings)
    for index, core in enumerate(settings.cores):
        key = f"cores.{index}"
        if core.name in names:
            yield f"{key}.name", f"is {shown(core.name)}; allowed: a name that is not taken by {names[core.name]}"
        if core.port in ports:
            yield f"{key}.port", f"is {core.port}; allowed: a port that is not taken by {ports[core.port]}"
        names[core.name] = ports[core.port] = key
        if core.tasks_max < core.tasks_min:
            yield f"{key}.tasks_max", f"is {core.tasks_max}; allowed: tasks_min ({core.tasks_min}) or more"
        if not core.token_arn.startswith(prefix):
            yield f"{key}.token_arn", f"is {shown(core.token_arn)}; allowed: a secret whose ARN begins with {prefix}"
    needs = {"cores": bool(settings.cores), **outward(settings)}
    if settings.network.nat == "none" and any(needs.values()):
        having = " and ".join(what for what, needed in needs.items() if needed)
        yield (
            "network.nat",
            f"is 'none'; allowed with {having}: one or per_zone, for these connect to the internet",
        )


def _deployer(settings: "Settings") -> Iterator[Mistake]:
    """Without a repository there is nobody to trust; without a bucket there is nothing to open."""
    deployer = settings.deployer
    if deployer.provider and not deployer.on:
        yield "deployer.provider", "is true; allowed with deployer.repository none: false"
    if not deployer.on and deployer.state_bucket != OFF:
        yield "deployer.state_bucket", f"is {shown(deployer.state_bucket)}; allowed with deployer.repository none: {OFF}"
    if deployer.state_bucket == OFF and deployer.state_key != OFF:
        yield "deployer.state_key", f"is {shown(deployer.state_key)}; allowed with deployer.state_bucket none: {OFF}"


def _connections(settings: "Settings") -> Iterator[Mistake]:
    """Who signs in gets a role; a variable is one that the runtime has and no other key sets."""
    sign_in, arn, prefix = settings.sign_in, settings.leaks.secret_arn, _secrets(settings)
    if sign_in.on and sign_in.audience == OFF:
        yield "sign_in.audience", f"is {OFF}; allowed with sign_in.issuer: our name at the issuer"
    if sign_in.on and not sign_in.roles:
        yield "sign_in.roles", "is empty; allowed with sign_in.issuer: at least one value=role, or nobody may do anything"
    if arn != OFF and not arn.startswith(prefix):
        yield "leaks.secret_arn", f"is {shown(arn)}; allowed: a secret whose ARN begins with {prefix}"
    known = settable()
    names = [entry.partition("=")[0] for entry in settings.variables]
    for index, name in enumerate(names):
        if name not in known or name in names[:index]:
            yield f"variables.{index}", f"is {name}; allowed, each once: {', '.join(sorted(known))}"


def _secrets(settings: "Settings") -> str:
    """How the ARN of a secret begins that somebody made for this stack."""
    return f"arn:aws:secretsmanager:{settings.region}:{settings.account}:secret:gatehouse/{settings.environment}/"
