"""Rules for settings that mean the same in all services of AWS (analysis/settings.py)."""

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis import settings
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import has_resource
from gatehouse_policies.engine.rule import CheckResults, Rule, Undecided, Violation, stack_rule

# Types whose logs and life cycle another resource enables.
_COMPANIONS = {
    (settings.LOGS, "networkfirewall.Firewall"): (
        "networkfirewall.LoggingConfiguration",
        "firewallArn",
    ),
    (settings.LOGS, "redshift.Cluster"): ("redshift.Logging", "clusterIdentifier"),
    (settings.LOSS, "s3.DirectoryBucket"): ("s3.BucketLifecycleConfiguration", "bucket"),
}
_OTHER = {"true": "set {path}=False", "false": "set {path}=True"}


def _rule(control: str, *, strict: bool = False) -> Rule:
    """A stack rule, because the SDK prepares the inputs of each resource for each resource rule."""

    companions = {
        token: has_resource(*other, missing=f"no aws.{other[0]} refers to it")
        for (own, name), other in _COMPANIONS.items()
        if own == control
        for token in aws(name)
    }

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for setting in stack.once(settings.settings_of, resource):
            if setting.control != control:
                continue
            resource.props.record(setting.path, setting.value or None)
            if setting.value is None:
                yield Undecided(setting.path)
            elif setting.value:
                message = f"{setting.path} is {setting.value}"
                remedy = _OTHER.get(setting.value, f"change {setting.path}")
                yield Violation(message, remedy.format(path=setting.path), setting.severity)
            else:
                default = f", and the default is {setting.default}" if setting.default else ""
                message = f"{setting.path} is not set{default}"
                yield Violation(message, f"set {setting.path}", setting.severity)

        if resource.type in companions:
            yield from companions[resource.type].violations(resource, stack)

        hosts = resource.lists.get("hosts", ())
        for path, host in settings.destinations(resource) if hosts else ():
            if not any(host == name or host.endswith(f".{name}") for name in hosts):
                fix = "add the host to `hosts` in the configuration file, or use another address"
                yield Violation(f"{path} is at {host}, which is not in the list `hosts`", fix)

    lists: dict[str, tuple[str, ...]] = {"hosts": ()} if control == settings.ACCESS else {}
    return stack_rule(control, types=(), lists=lists, strict=strict)(check)


encryption_and_authentication_are_enabled = _rule(settings.ENCRYPTION)
services_are_not_open_to_everyone = _rule(settings.ACCESS)
logs_are_enabled = _rule(settings.LOGS)
data_is_not_lost = _rule(settings.LOSS)
processes_have_no_privileges = _rule(settings.PRIVILEGES)
data_has_customer_keys = _rule(settings.KEYS, strict=True)
