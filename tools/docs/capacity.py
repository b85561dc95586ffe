"""docs/capacity.md: requests per vCPU and capacity of each stack, from the measured CPU time."""

import json
from typing import Any

from components.settings.workloads import CPU_TARGET_PERCENT
from sandbox.paths import REPOSITORY
from tools.docs import markdown
from tools.docs.costs import GIB, UNITS_PER_VCPU, VCPU
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import table

_MEASURED = REPOSITORY / "bench" / "gateway" / "ratios.json"
#: Average CPU utilization for which the capacity is computed.
UTILIZATION = CPU_TARGET_PERCENT / 100
GIB_PER_VCPU = 2


def page() -> str:
    """Renders the page from the stored results of `python -m bench --store`, and from the resources
    of each stack.
    """
    measured: dict[str, Any] = json.loads(_MEASURED.read_text())
    ratios, half_ms = measured["ratios"], measured["half_ms"]
    cpu_ratios = measured["cpu_ratios"]
    rows = [
        (
            name,
            f"{cpu_us:,} us",
            f"{measured['envoy_us'][name]:,} us",
            _per_vcpu(cpu_us),
            _usd(cpu_us),
            f"{cpu_ratios[name]:.1f}" if name in cpu_ratios else "",
            f"{ratios[name]:.3f}" if name in ratios else "",
            " / ".join(map(str, half_ms.get(name, ()))),
        )
        for name, cpu_us in measured["cpu_us"].items()
    ]
    numbers = (
        *("CPU time", "of Envoy", "requests/s per vCPU", "USD per million", "CPU time x Envoy"),
        *("of nginx", "p50 / p99 at half the rate, ms"),
    )
    stacks = [_stack_row(stack, measured["cpu_us"]["JSON, TLS"]) for stack in STACKS]
    return markdown.page(
        "capacity",
        measured_at=measured["measured_at"],
        percent=round(UTILIZATION * 100),
        gib=GIB_PER_VCPU,
        requests=table(("request", *numbers), rows),
        stacks=table(
            ("stack", "tasks", "vCPU of a task", "verifications/s at the maximum"), stacks
        ),
    )


def _per_vcpu(cpu_us: float, vcpu: float = 1) -> str:
    return f"{round(UTILIZATION * 1_000_000 / cpu_us * vcpu, -1):,.0f}"


def _usd(cpu_us: float) -> str:
    """Cost of a million requests on Fargate at the utilization."""
    return f"{cpu_us / UTILIZATION / 3600 * (VCPU + GIB_PER_VCPU * GIB):.4f}"


def _stack_row(stack: str, cpu_us: float) -> tuple[str, str, str, str]:
    inputs: dict[str, Any] = {
        row.type.rpartition(":")[2]: row.inputs
        for row in (resource.registration for resource in deployed(stack).resources)
        if row.name == "gateway"
    }
    vcpu, target = int(inputs["TaskDefinition"]["cpu"]) / UNITS_PER_VCPU, inputs["Target"]
    tasks_max = target["maxCapacity"]
    tasks = f"{target['minCapacity']} to {tasks_max}"
    return stack, tasks, f"{vcpu:g}", _per_vcpu(cpu_us, vcpu * tasks_max)
