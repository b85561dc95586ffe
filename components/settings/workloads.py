"""Settings of images, ECS services, the sharing function and Cores."""

from typing import Annotated

from pydantic import Field

from components.settings.fields import (
    ARN,
    Flag,
    Section,
    by_environment,
    by_profile,
    choice,
    integer,
    prod_requires_at_least,
    string,
    strings,
)

CPU_TARGET_PERCENT = 60
"""Average CPU utilization at which auto scaling keeps a service."""
SERVERLESS = "serverless"
CLOUDFRONT = "cloudfront"
CONSOLE = "console"
"""Name of the console service in the runtime contract."""
SHARING_TIMEOUT_S, SHARING_MEMORY_MIB, SHARING_CONCURRENCY = 10, 1024, 50
"""Timeout, memory and reserved concurrency of the sharing function."""
SHA256 = r"sha256:[0-9a-f]{64}"
NO_IMAGE = f"sha256:{'0' * 64}"
"""Digest of a stack file whose image has not been pushed."""
DIGEST = string(SHA256, '"sha256:" and 64 hexadecimal digits, as printed by docker push')
EXTERNAL_ARN_PATTERN = (
    rf"{ARN}:secretsmanager:[a-z0-9-]+:\d{{12}}"
    r":secret:[a-z0-9-]+/[a-z0-9]+/[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}"
)
EXTERNAL_ARN_WORDS = "the full ARN of a secret whose name starts with name_prefix/stack/"

Cpu = Annotated[
    int,
    choice(256, 512, 1024, 2048, 4096),
    Field(description="CPU units of a task. 1024 units equal one vCPU."),
]
MemoryMib = Annotated[
    int,
    integer(512, 30720, "MiB"),
    Field(description="Memory of a task in MiB. The sizes that Fargate supports depend on cpu."),
]
TasksMin = Annotated[
    int,
    integer(1, 100, "tasks"),
    Field(
        description=("Minimum number of tasks. With two, the service tolerates the loss of one.")
    ),
]


class ImageSettings(Section):
    """The container image in the stack's ECR repository."""

    digest: Annotated[str, DIGEST]
    """Digest of the image to run, not of an image index, which Lambda does not support. Push the
    image first."""


class TaskSize(Section):
    """CPU and memory of a task."""

    cpu: Cpu
    memory_mib: MemoryMib


class ScalingSettings(TaskSize):
    """Auto scaling of an ECS service."""

    tasks_min: TasksMin
    tasks_max: Annotated[int, integer(1, 100, "tasks")]
    """Maximum number of tasks: limits the cost and the number of database connections."""


class ServiceSettings(ScalingSettings):
    """An ECS service behind the load balancer."""

    tasks_min: Annotated[TasksMin, prod_requires_at_least(2, "tasks")]


class GatewaySettings(ServiceSettings):
    """The gateway service, which verifies keys and forwards requests to Cores."""

    workers: Annotated[int, integer(1, 16, "worker processes in a task")] = by_environment(1, 2, 2)
    """Number of worker processes in a task, and of threads of Envoy. Use one for each vCPU, but two
    or more if no request may fail while a worker is replaced."""


class ConsoleSettings(ServiceSettings):
    """The console service, which also serves the sharing service when sharing.mode is
    `container`.
    """

    cpu: Cpu = 256
    memory_mib: MemoryMib = 1024
    hosting: Annotated[str, choice("container", CLOUDFRONT)] = "container"
    """`container`: the console's tasks serve the files of the web UI. `cloudfront`: CloudFront
    serves them from S3 and forwards all other requests through an internal load balancer.
    """


class ServicesSettings(Section):
    """Capacity and size of the services."""

    gateway: GatewaySettings
    console: ConsoleSettings

    @property
    def sizes(self) -> dict[str, TaskSize]:
        """Size of the task of each process. `migrate` migrates the database schema."""
        migrate = TaskSize(cpu=256, memory_mib=512)
        return {"gateway": self.gateway, "console": self.console, "migrate": migrate}

    @property
    def cloudfront(self) -> bool:
        """Whether a CloudFront distribution is in front of the console."""
        return self.console.hosting == CLOUDFRONT

    @property
    def scaling(self) -> dict[str, ServiceSettings]:
        """Auto scaling of each process that runs as an ECS service."""
        return {"gateway": self.gateway, "console": self.console}


FUNCTION_CONCURRENCY = {
    # One execution for each secret, and additional ones for retries.
    "rotate": 5,
    # Two executions would start two deployments of a service.
    "restart": 1,
    # A migration waits for another one.
    "migration": 1,
    # Prevents overlapping runs.
    "probe": 1,
    # Services are deployed at the same time. ECS rolls a deployment back if it cannot invoke the
    # function.
    "smoke": 2,
}
"""Reserved concurrency of the functions in `runtime/functions`, keyed by name."""


class TelemetrySettings(Section):
    """The OpenTelemetry collector, which sends metrics to CloudWatch and traces to X-Ray."""

    collector: Flag = by_environment(False, True, True)
    """Run the AWS Distro for OpenTelemetry collector in each task of an ECS service. The collector
    needs about 64 MiB of the task's memory."""
    traces_sample_percent: Annotated[int, integer(0, 100, "percent")] = 1
    """Percentage of requests that are traced if the collector runs and the caller has made no
    decision.
    """
    insights: Annotated[str, choice("disabled", "enhanced")] = by_profile(
        "enhanced", small="disabled"
    )
    """Container Insights of the ECS cluster. `disabled` omits the metrics of tasks and
    containers, and the deployments on the dashboard."""


class CoreSettings(ScalingSettings):
    """A Core that runs as an ECS service of the stack. The Core has no public IP address, and only
    the gateway can connect to it. Requests to Amazon S3 pass the gateway endpoint of the stack,
    which allows its buckets only: with a bucket of its own, run the Core elsewhere
    (network.core_networks).
    """

    name: Annotated[
        str,
        string(
            r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?",
            "1 to 20 lowercase letters, digits and inner hyphens, such as files",
        ),
    ]
    """Name of the Core. The gateway serves the Core under /cores/<name>/."""
    image_digest: Annotated[str, DIGEST]
    """Digest of the image to run, in the ECR repository that the stack creates for the Core."""
    port: Annotated[int, integer(1024, 65535, "a TCP port")]
    """Port on which the container listens."""
    health_command: Annotated[tuple[str, ...], strings(r"\S.{0,99}", 1, 10, "words of a command")]
    """Command in the image that exits with 0 while the Core is healthy, such as [python,
    health.py].
    """
    token_secret_arn: Annotated[str, string(EXTERNAL_ARN_PATTERN, EXTERNAL_ARN_WORDS)]
    """Secret that contains an API key with the scope cores:register. Create the secret once,
    encrypted under the stack's KMS key for secrets."""

    @property
    def process_name(self) -> str:
        """Name of the process and of the resources of the Core."""
        return f"core-{self.name}"


class SharingSettings(Section):
    """The sharing service."""

    mode: Annotated[str, choice("container", SERVERLESS)] = "container"
    """`container`: in the console's tasks. `serverless`: as a Lambda function behind a REST API,
    with separate permissions and almost no cost while idle.
    """
    api_gateway_log_role: Flag = False
    """Sets the role with which API Gateway writes the logs of every REST API in the account and
    region. Enable it in exactly one stack for each account and region."""

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the runtime contract that the stack deploys."""
        return ("sharing",) if self.mode == SERVERLESS else ()
