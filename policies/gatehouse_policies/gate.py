"""Which controls a check evaluates, and which findings fail it."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pulumi_local.errors import CommandError

from gatehouse_policies import catalogue, frameworks
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import SEVERITIES

_META_POLICIES = frozenset(policy.id for policy in META_POLICIES)


@dataclass(frozen=True)
class Gate:
    """The options of a check that select controls and findings.

    only, skip: patterns of the IDs of controls, such as "GH-S3-*". Without `only`, every control is
        selected.
    framework: the framework that a control must be mapped to, "" for every control.
    fail_on: the lowest severity of a violation that fails the check, "" for every severity.
    fail_on_undecided: True if an undecided result has an exit code of its own.
    fail_on_unevaluated: True if a resource that no control evaluates has this exit code too.
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    framework: str = ""
    fail_on: str = ""
    fail_on_undecided: bool = False
    fail_on_unevaluated: bool = False

    def __post_init__(self) -> None:
        for id in (rule.id for rule in catalogue.RULES if not rule.can_be_disabled):
            if _matches(id, self.skip):
                raise CommandError(
                    f"--skip cannot skip {id}, because it is critical and has no exemptions. Name "
                    f"other controls, or set its level to advisory in the configuration file."
                )

    @property
    def is_partial(self) -> bool:
        return bool(self.only or self.skip or self.framework)

    def selects(self, id: str) -> bool:
        """True if the check evaluates the control. Meta policies are always evaluated."""
        if id in _META_POLICIES:
            return True
        control = catalogue.find(id)
        if self.framework and not (control and self.framework in frameworks.of_control(control)):
            return False
        return _matches(id, self.only or ("*",)) and not _matches(id, self.skip)

    def fails(self, rule: str, severity: str) -> bool:
        """True if a mandatory violation fails the check."""
        if not self.fail_on or rule in _META_POLICIES or severity not in SEVERITIES:
            return True
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.fail_on)

    def require_known(self, ids: Iterable[str]) -> None:
        """Raises CommandError for a pattern that matches no control.

        ids: the controls of all packs.
        """
        known = tuple(ids)
        for option, patterns in (("--only", self.only), ("--skip", self.skip)):
            for pattern in patterns:
                if not any(_matches(id, (pattern,)) for id in known):
                    raise CommandError(
                        f"{option} {pattern} matches no control. Copy the ID from a report, or "
                        f'write a pattern such as "GH-S3-*".'
                    )

    def __str__(self) -> str:
        parts = [f"only {', '.join(self.only)}" if self.only else ""]
        parts += [f"without {', '.join(self.skip)}" if self.skip else ""]
        if self.framework:
            parts.append(f"only {frameworks.frameworks()[self.framework].name}")
        parts += [f"fails on {self.fail_on} or higher" if self.fail_on else ""]
        return ", ".join(filter(None, parts))


def _matches(id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(id, pattern) for pattern in patterns)
