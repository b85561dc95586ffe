""".gatehouse/docs/capacity.md: requests per vCPU, costs and the capacity of each stack, from the
measured CPU time.
"""

import json
from typing import Any

from bench.gateway.nginx import show_ratio
from components.settings.workloads import ScalingSettings
from sandbox.paths import REPOSITORY
from tools.docs import markdown
from tools.docs.costs import GIB, UNITS_PER_VCPU, VCPU
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import table

_MEASURED = REPOSITORY / "bench" / "gateway" / "capacity.json"
_RATIOS = REPOSITORY / "bench" / "gateway" / "ratios.json"
_NGINX = REPOSITORY / "bench" / "gateway" / "nginx.json"
_STEPS = REPOSITORY / "bench" / "gateway" / "steps.json"
#: Average CPU utilization for which the capacity is computed.
UTILIZATION: float = ScalingSettings.model_fields["cpu_target_percent"].default / 100
GIB_PER_VCPU = 2
#: Maximum size of a Fargate task. Source: Amazon ECS Developer Guide, "Task CPU and memory".
VCPU_MAX = 16


def page() -> str:
    """Render the page from the stored results of `python -m bench capacity` and `steps`, and from
    the resources of each stack.
    """
    measured = json.loads(_MEASURED.read_text(encoding="utf-8"))
    rows = {row["name"]: row["cpu_us"] for row in measured["rows"]}
    requests = table(
        ("request", "CPU time", "requests per second and vCPU", "USD per million requests"),
        [
            (name, f"{cpu_us:.0f} us", _rounded(per_vcpu(cpu_us)), f"{usd(cpu_us):.4f}")
            for name, cpu_us in rows.items()
        ],
    )
    verification = rows["verification, JSON"]
    stacks = table(
        (
            "stack",
            "tasks, minimum to maximum",
            "vCPU of a task",
            "verifications per second at the maximum",
        ),
        [_stack_row(stack, verification) for stack in STACKS],
    )
    steps = json.loads(_STEPS.read_text(encoding="utf-8"))
    unkey = json.loads(_RATIOS.read_text(encoding="utf-8"))["unkey"]
    largest = _rounded(per_vcpu(verification) * VCPU_MAX)
    return markdown.page(
        "capacity",
        measured_at=measured["measured_at"],
        percent=f"{UTILIZATION:.0%}".removesuffix("%"),
        gib=GIB_PER_VCPU,
        requests=requests,
        stacks=stacks,
        nginx=_nginx(),
        nginx_measured_at=json.loads(_NGINX.read_text(encoding="utf-8"))["measured_at"],
        unkey_measured_at=unkey["measured_at"],
        unkey_json=unkey["ratios"]["verification, JSON"],
        unkey_header=unkey["ratios"]["verification, header"],
        steps=_steps(steps["steps"]),
        new_body_steps=_steps(steps["new_body"]),
        json_us=f"{steps['requests']['JSON']:.0f}",
        new_body_us=f"{steps['requests']['JSON, new body']:.0f}",
        header_us=f"{steps['requests']['header']:.0f}",
        vcpu_max=VCPU_MAX,
        largest=largest,
    )


def _nginx() -> str:
    """Ratios for one and two workers."""
    workers = json.loads(_NGINX.read_text(encoding="utf-8"))["workers"]
    rows = [
        (row["name"], row["baseline"], show_ratio(row), show_ratio(other))
        for row, other in zip(workers["1"], workers["2"], strict=True)
        if row["baseline"]
    ]
    return table(("gateway", "nginx", "ratio with one worker", "ratio with two workers"), rows)


def _steps(steps: dict[str, float]) -> str:
    return table(("step", "CPU time"), [(name, f"{us:.1f} us") for name, us in steps.items()])


def per_vcpu(cpu_us: float) -> float:
    """Requests per second of one vCPU at the utilization of the auto scaling target."""
    return UTILIZATION * 1_000_000 / cpu_us


def usd(cpu_us: float) -> float:
    """Cost of a million requests on Fargate at the utilization of the auto scaling target."""
    hours = 1_000_000 / per_vcpu(cpu_us) / 3600
    return hours * (VCPU + GIB_PER_VCPU * GIB)


def _stack_row(stack: str, cpu_us: float) -> tuple[str, str, str, str]:
    resources = [resource.registration for resource in deployed(stack).resources]
    inputs: dict[str, Any] = {
        resource.type.rpartition(":")[2]: resource.inputs
        for resource in resources
        if resource.name == "gateway"
    }
    task, target = inputs["TaskDefinition"], inputs["Target"]
    vcpu, tasks = int(task["cpu"]) / UNITS_PER_VCPU, (target["minCapacity"], target["maxCapacity"])
    return (
        stack,
        f"{tasks[0]} to {tasks[1]}",
        f"{vcpu:g}",
        _rounded(per_vcpu(cpu_us) * vcpu * tasks[1]),
    )


def _rounded(rate: float) -> str:
    return f"{round(rate, -2):,.0f}"
