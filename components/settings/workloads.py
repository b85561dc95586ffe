"""The parts of a stack file about how processes are replaced, what runs beside them, and who may deploy them."""

from typing import Annotated

from pydantic import Field

from components.contract import ContractService, Process, Secret
from components.settings.sections import Image, Section, Size
from components.settings.validators import Flag, listed, text, whole, word

ROLLING = "rolling"


class Rollout(Section):
    """How a new version takes the place of the old one."""

    strategy: Annotated[
        str,
        word(ROLLING, "blue_green", "canary", "linear"),
        Field(
            description="rolling replaces task by task. The others start all new tasks first: blue_green moves the traffic at "
            "once, canary a share first, linear share by share. An alarm moves it back."
        ),
    ]
    bake_minutes: Annotated[
        int,
        whole(0, 1440, "minutes"),
        Field(description="Minutes that the old tasks stay after all traffic has moved, so that going back takes seconds."),
    ]
    step_percent: Annotated[
        int,
        whole(3, 50, "percent of the traffic"),
        Field(description="The first share with canary, each share with linear."),
    ]
    step_minutes: Annotated[
        int,
        whole(1, 1440, "minutes"),
        Field(description="Minutes between a share and the next; the alarms look at the new tasks meanwhile."),
    ]

    @property
    def minutes(self) -> int:
        """How long traffic moves and bakes, beside the start of the tasks."""
        steps = {"canary": 1, "linear": -(-100 // self.step_percent) - 1}.get(self.strategy, 0)
        return 0 if self.strategy == ROLLING else steps * self.step_minutes + self.bake_minutes


OFF = "none"


class Telemetry(Section):
    """The OpenTelemetry collector beside each process that serves."""

    collector: Annotated[
        str,
        text(rf"{OFF}|sha256:[0-9a-f]{{64}}", f'{OFF}, or "sha256:" and 64 hexadecimal digits of the image'),
        Field(
            description="Image of the AWS Distro for OpenTelemetry collector, by digest, in the repository that the stack makes "
            "for it; none runs no collector. It needs about 64 MB of a task's memory."
        ),
    ]

    @property
    def on(self) -> bool:
        """Whether a collector runs."""
        return self.collector != OFF

    def shipped(self, kept: int) -> Image:
        """Its image, as that of the gateway is described."""
        return Image(digest=self.collector, kept=kept)


class Core(Size):
    """A Core of your own that runs beside the gateway: a service without a public address, which only the gateway reaches."""

    name: Annotated[
        str,
        text(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", "1 to 20 lower-case letters, digits and inner hyphens, such as files"),
        Field(description="Under which the Core is reached at the gateway: /cores/<name>/."),
    ]
    image: Annotated[
        str,
        text(r"sha256:[0-9a-f]{64}", '"sha256:" and 64 hexadecimal digits; docker prints it on push'),
        Field(description="The image that runs, by digest, in the repository that the stack makes for this Core."),
    ]
    port: Annotated[int, whole(1024, 65535, "a TCP port"), Field(description="Where the Core listens in its container.")]
    health: Annotated[
        tuple[str, ...],
        listed(r"\S.{0,99}", 1, 10, "words of a command"),
        Field(description="Command inside the image that ends with 0 while the Core is well, such as [python, health.py]."),
    ]
    tasks_min: Annotated[int, whole(1, 100, "tasks"), Field(description="Tasks that always run.")]
    tasks_max: Annotated[int, whole(1, 100, "tasks"), Field(description="Tasks at most: the bound of the bill.")]
    cpu_target_percent: Annotated[
        int, whole(10, 90, "percent"), Field(description="Load that auto scaling aims at, by the CPU of the tasks.")
    ]
    token_arn: Annotated[
        str,
        text(
            r"arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:gatehouse/[a-z]+/[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}",
            "the whole ARN of a secret whose name begins with gatehouse/ and the environment",
        ),
        Field(description="Secret that holds the Core's key with the scope cores:register. You make it once, with a key."),
    ]

    @property
    def thing(self) -> str:
        """What everything of this Core is called (Naming.name's `thing`)."""
        return f"core-{self.name}"

    def shipped(self, kept: int) -> Image:
        """Its image, as that of the gateway is described."""
        return Image(digest=self.image, kept=kept)

    @property
    def process(self) -> Process:
        """The Core as the gateway's own processes are described: started as its image says, told its name, the URL at which
        the gateway reaches it, where the gateway is, and the key with which it registers."""
        return Process(
            name=self.thing,
            command=(),
            services=(ContractService(self.thing, self.port, "", ""),),
            variables=("CORE_NAME", "CORE_URL", "GATEHOUSE_GATEWAY_URL"),
            secrets=(Secret("GATEHOUSE_CORE_TOKEN", self.thing, "operator", ""),),
        )


class Deployer(Section):
    """Who deploys the stack: roles for jobs of one repository on GitHub, which need no key and no password."""

    repository: Annotated[
        str,
        text(
            rf"{OFF}|[A-Za-z0-9][A-Za-z0-9-]{{0,38}}/[A-Za-z0-9._-]{{1,100}}",
            f"{OFF}, or owner/repository on GitHub, such as example/gatehouse",
        ),
        Field(
            description="The repository whose jobs take the roles preview, deploy and image, each from the GitHub environment of "
            "its own: <environment>-preview, <environment> and <environment>-image. none makes no roles."
        ),
    ]
    provider: Annotated[
        Flag,
        Field(
            description="This stack makes GitHub an identity provider of the account. Exactly one stack of an account does; the "
            "others use what it made, so it is best the one with baseline.enabled."
        ),
    ]
    state_bucket: Annotated[
        str,
        text(rf"{OFF}|[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]", f"{OFF}, or the name of an S3 bucket"),
        Field(
            description="Bucket of Pulumi's state, of which each role reaches this stack's part alone; none with Pulumi Cloud. "
            "You make it once, before everything else."
        ),
    ]
    state_key: Annotated[
        str,
        text(
            rf"{OFF}|arn:aws:kms:[a-z0-9-]+:\d{{12}}:key/[A-Za-z0-9-]{{36,40}}",
            f"{OFF}, or the ARN of a KMS key (not of an alias)",
        ),
        Field(description="KMS key of that bucket, or of the stack's secrets provider; none when there is neither."),
    ]

    @property
    def on(self) -> bool:
        """Whether there are roles."""
        return self.repository != OFF


SERVERLESS = "serverless"


class Sharing(Section):
    """How the share service is served: by the console's container, or by a function of its own."""

    form: Annotated[
        str,
        word("container", SERVERLESS),
        Field(
            description="container: beside the console, behind the load balancer. serverless: a Lambda function of its own "
            "behind a REST API, with no right but those of this service; it costs nothing while nobody comes, and its new version "
            "takes all traffic at once."
        ),
    ]
    memory_mib: Annotated[
        int, whole(256, 3008, "MiB"), Field(description="Memory of the function in MiB, and with it its share of a processor.")
    ]
    concurrency: Annotated[
        int,
        whole(2, 500, "requests at a time"),
        Field(
            description="Requests that the function answers at a time, kept for it from the account's quota: it can take no "
            "more, and nobody can take these away."
        ),
    ]
    requests_s_max: Annotated[
        int,
        whole(1, 10_000, "requests a second"),
        Field(description="Requests a second of all callers together; more are answered with 429. Of POSTs, a tenth."),
    ]
    log_role: Annotated[
        Flag,
        Field(
            description="This stack sets the role with which API Gateway writes the logs of every REST API of account and "
            "region. Exactly one stack of them, or somebody else, must."
        ),
    ]

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the contract that serve a service here."""
        return ("sharing",) if self.form == SERVERLESS else ()
