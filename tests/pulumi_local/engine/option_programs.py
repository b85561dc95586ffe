"""Programs with generated resource options."""

import random
from collections.abc import Callable

GROUPS = 60
_HEADER = """import pulumi
import pulumi_aws as aws
O = pulumi.ResourceOptions
class Part(pulumi.ComponentResource):
    def __init__(self, name, opts):
        super().__init__("demo:index:Part", name, None, opts)
"""


def programs() -> tuple[str, str]:
    groups = [_group(number) for number in range(GROUPS)]
    first, second = (
        _HEADER + "".join("".join(group[version]) for group in groups) for version in (0, 1)
    )
    return first, second


def _group(number: int) -> tuple[list[str], list[str]]:
    draws = random.Random(number)  # It returns the same values in every version of Python.

    def chance(share: float) -> bool:
        return draws.random() < share

    lines: tuple[list[str], list[str]] = ([], [])
    earlier: list[str] = []
    if chance(0.3):
        options = [["", "retain_on_delete=True"][chance(0.5)]]
        for program in lines:
            program.append(f'g{number}_part = Part("g{number}-part", O({options[0]}))\n')
        parent = [f"parent=g{number}_part"]
    else:
        parent = []
    for index in range(4):
        name = f"g{number}_{index}"
        options = [*parent, *_options(chance, earlier)]
        replaced, updated = chance(0.3), chance(0.3)
        source = earlier[int(draws.random() * len(earlier))] if earlier else ""
        linked, named = bool(source) and chance(0.4), chance(0.3)
        is_queue = chance(0.5)
        removed, renamed = index == 3 and chance(0.5), chance(0.15)
        for version in (0, 1):
            if removed and version:
                continue
            chosen = list(options)
            logical = f"{name}-new" if renamed and version else name
            if renamed and version:
                chosen.append(f'aliases=[pulumi.Alias(name="{name}")]')
            fifo, text = bool(replaced and version), f"v{version if updated else 0}"
            value = f"{source}.arn" if linked else f'pulumi.Output.secret("{text}")'
            kind, property_ = ("sqs.Queue", "policy") if is_queue else ("sns.Topic", "display_name")
            physical = f'name="{name}", ' if named else ""
            fixed = "fifo_queue" if is_queue else "fifo_topic"
            lines[version].append(
                f'{name} = aws.{kind}("{logical}", {physical}{fixed}={fifo}, '
                f"{property_}={value}, opts=O({', '.join(chosen)}))\n"
            )
        earlier.append(name)
    return lines


def _options(chance: Callable[[float], bool], earlier: list[str]) -> list[str]:
    options = []
    if chance(0.4):
        options.append(f"delete_before_replace={chance(0.7)}")
    if chance(0.15):
        options.append(f"ignore_changes=['{['*', 'display_name'][chance(0.5)]}']")
    if chance(0.1):
        options.append("retain_on_delete=True")
    if earlier and chance(0.3):
        options.append(f"depends_on=[{', '.join(earlier[-1 - chance(0.3) :])}]")
    if earlier and chance(0.25):
        options.append(f"deleted_with={earlier[-1]}")
    return options
