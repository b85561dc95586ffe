"""The parts of a stack file, one class a part: what each value means, its unit, and what it may be."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components.settings.validators import Flag, listed, text, whole, word

CIDR = r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}"
ROLE = r"arn:aws:iam::\d{12}:role/[\w+=,.@/*-]+"


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Keep(Section):
    """What happens to stateful resources (keys, secrets, database, tables, buckets) when a deployment would delete
    them."""

    protect: Flag
    """Pulumi refuses to delete or replace them."""
    retain: Flag
    """When they leave the program they leave Pulumi's state only, and stay in AWS."""


class Network(Section):
    """The VPC and its three subnet tiers."""

    cidr: Annotated[
        str,
        text(rf"{CIDR}/16", 'an IPv4 network with /16, such as "10.20.0.0/16"'),
        Field(
            description="Addresses of the VPC. Choose one that no network you will peer with has; it cannot be changed in place."
        ),
    ]
    zones: Annotated[
        tuple[str, ...],
        listed(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", 2, 3, "availability zones of the region"),
        Field(
            description="Where the subnets lie. Two survive the loss of a zone, three do so with two thirds of the capacity left."
        ),
    ]
    nat: Annotated[str, word("none", "one", "per_zone")]
    """NAT gateways of the app tier: none (no way out), one (cheap), per_zone (survives a zone). About 35 USD a month each."""
    endpoint_zones: Annotated[str, word("one", "all")]
    """Zones with interface endpoints: one (cheap) or all (survives a zone). About 50 USD a month for each zone."""
    core_networks: Annotated[tuple[str, ...], listed(rf"{CIDR}/\d{{1,2}}", 0, 10, "IPv4 networks")]
    """Private networks in which a Core may register; public addresses always may."""
    core_port_first: Annotated[
        int,
        whole(1024, 65535, "a TCP port"),
        Field(
            description="First port at which the gateway may reach a Core in core_networks. Public Cores are reached on 443 alone."
        ),
    ]
    core_port_last: Annotated[int, whole(1024, 65535, "a TCP port"), Field(description="Last such port.")]
    exec_endpoints: Annotated[
        Flag,
        Field(
            description="Endpoints for ECS Exec, a shell in a running task. Without them Exec has no way in where nat is none."
        ),
    ]


class Keys(Section):
    """KMS keys."""

    rotation_days: Annotated[
        int, whole(90, 365, "days"), Field(description="Days after which KMS makes new key material; the old one still decrypts.")
    ]
    deletion_window_days: Annotated[
        int,
        whole(7, 30, "days"),
        Field(description="Days in which the deletion of a key can be taken back. What it encrypted is lost after that."),
    ]


class Secrets(Section):
    """Secrets that the rotation function makes: pepper, session key, bootstrap token."""

    rotation_days: Annotated[
        int,
        whole(1, 30, "days"),
        Field(
            description="Days after which the rotation function makes a new value. Pepper and session key keep the last three."
        ),
    ]
    recovery_window_days: Annotated[
        int, whole(7, 30, "days"), Field(description="Days in which the deletion of a secret can be taken back.")
    ]
    operators: Annotated[tuple[str, ...], listed(ROLE, 1, 10, "ARNs of IAM roles, * allowed in the name")]
    """Who may read the bootstrap token, once, to sign in for the first time."""


class Database(Section):
    """RDS for PostgreSQL."""

    engine_version: Annotated[
        str,
        text(r"1[6-9](\.\d+)?", 'a PostgreSQL version from 16, in quotes, such as "17"'),
        Field(
            description="Version of PostgreSQL. A major one alone lets RDS choose the minor one; minor upgrades are automatic."
        ),
    ]
    instance_class: Annotated[
        str,
        text(r"db\.[a-z0-9]+\.[a-z0-9]+", 'an RDS class such as "db.t4g.small"'),
        Field(description="CPU and memory of the instance; with multi_az, the standby has the same."),
    ]
    storage_gib: Annotated[
        int, whole(20, 65536, "GiB"), Field(description="Storage at the start, in GiB (gp3). RDS cannot make it smaller.")
    ]
    storage_gib_max: Annotated[
        int,
        whole(20, 65536, "GiB"),
        Field(description="How far RDS may grow the storage by itself, in GiB. An alarm sounds while less than a tenth is free."),
    ]
    multi_az: Annotated[
        Flag, Field(description="A standby in another zone takes over by itself. Doubles the price of the instance.")
    ]
    recovery_days: Annotated[int, whole(1, 35, "days")]
    """How far back point-in-time recovery reaches."""
    deletion_protection: Annotated[Flag, Field(description="RDS refuses to delete the instance, whoever asks.")]
    final_snapshot: Annotated[Flag, Field(description="A snapshot is taken when the instance is deleted.")]
    monitoring_interval_s: Annotated[int, word(0, 1, 5, 10, 15, 30, 60)]
    """Enhanced monitoring; 0 is off."""
    slow_query_threshold_ms: Annotated[
        int,
        whole(10, 60000, "milliseconds"),
        Field(description="Statements that take longer, in milliseconds, stand in the log."),
    ]
    insights: Annotated[
        str,
        word("standard", "advanced"),
        Field(
            description="Database Insights: standard keeps query statistics for 7 days at no charge, advanced for 15 months "
            "with plans and locks, at about 9 USD a month for each vCPU."
        ),
    ]
    proxy: Annotated[
        Flag,
        Field(
            description="Tasks share connections through RDS Proxy, and a failover takes seconds; worth it from some 50 tasks. "
            "At least 22 USD a month."
        ),
    ]


class Cache(Section):
    """ElastiCache for Valkey."""

    engine_version: Annotated[
        str,
        text(r"(7\.2|8\.\d)", 'a Valkey version in quotes, "7.2" or "8.0" and newer'),
        Field(description="Version of Valkey."),
    ]
    node_type: Annotated[
        str,
        text(r"cache\.[a-z0-9]+\.[a-z0-9]+", 'an ElastiCache class such as "cache.t4g.micro"'),
        Field(description="CPU and memory of a node. Rate limits need little of either."),
    ]
    replicas: Annotated[int, whole(0, 5, "replicas")]
    """Copies beside the primary; with one or more, failover is automatic and over several zones."""
    snapshot_days: Annotated[int, whole(0, 35, "days"), Field(description="Days that a nightly snapshot is kept; 0 takes none.")]


class Tokens(Section):
    """The DynamoDB table of share tokens."""

    recovery_days: Annotated[
        int, whole(1, 35, "days"), Field(description="How far back point-in-time recovery reaches, in days.")
    ]
    deletion_protection: Annotated[Flag, Field(description="DynamoDB refuses to delete the table, whoever asks.")]


class Buckets(Section):
    """The data, log and trail buckets."""

    noncurrent_days: Annotated[
        int, whole(1, 3650, "days"), Field(description="Days in which an overwritten or deleted object can be brought back.")
    ]
    log_days: Annotated[int, whole(1, 3650, "days"), Field(description="Days that access logs are kept.")]
    trail_days: Annotated[
        int, whole(1, 3650, "days"), Field(description="Days that the audit trail of AWS calls (CloudTrail) is kept.")
    ]
    lock_days: Annotated[int, whole(1, 3650, "days")]
    """Nobody can delete an audit file before this (S3 Object Lock)."""
    lock_mode: Annotated[str, word("GOVERNANCE", "COMPLIANCE")]
    """GOVERNANCE can be lifted with a special permission, COMPLIANCE by nobody."""
    force_destroy: Flag
    """Empty a bucket to delete it; only for throw-away environments."""
    replicate: Annotated[
        Flag,
        Field(
            description="Every object of the data bucket is copied to second_region within 15 minutes, with an alarm metric; "
            "costs the storage again and 0.035 USD a GB."
        ),
    ]


class Image(Section):
    """The container image in this stack's own repository."""

    digest: Annotated[
        str,
        text(r"sha256:[0-9a-f]{64}", '"sha256:" and 64 hexadecimal digits; docker prints it on push'),
        Field(
            description="The image that runs, by digest: push first, then write it. Of the image itself; Lambda takes no index."
        ),
    ]
    kept: Annotated[
        int,
        whole(2, 1000, "images"),
        Field(description="Images that stay in the repository, the newest ones: how far back a roll-back can go."),
    ]


class Size(Section):
    """How large one task of a process is."""

    cpu: Annotated[int, word(256, 512, 1024, 2048, 4096), Field(description="CPU units of a task; 1024 are one processor.")]
    memory_mib: Annotated[
        int, whole(512, 30720, "MiB"), Field(description="Memory of a task in MiB. Fargate sells only some sizes with each cpu.")
    ]


class Scale(Size):
    """A process that serves: size and number of tasks."""

    tasks_min: Annotated[
        int, whole(1, 100, "tasks"), Field(description="Tasks that always run. Two are needed to survive the loss of one.")
    ]
    tasks_max: Annotated[
        int,
        whole(1, 100, "tasks"),
        Field(description="Tasks at most: the bound of the bill, and of the connections to the database."),
    ]
    cpu_target_percent: Annotated[
        int,
        whole(10, 90, "percent"),
        Field(description="Load that auto scaling aims at. 60 leaves room for the half minute until a new task helps."),
    ]
    requests_target: Annotated[
        int,
        whole(10, 1_000_000, "requests a minute and task"),
        Field(description="Requests a minute and task that auto scaling aims at; whichever target asks for more tasks wins."),
    ]


class Gateway(Scale):
    """The gateway, which also runs several worker processes in a task."""

    workers: Annotated[
        int,
        whole(1, 16, "worker processes in a task"),
        Field(description="Worker processes in a task: one for each processor it has."),
    ]


class Services(Section):
    """The processes of the contract."""

    gateway: Annotated[Gateway, Field(description="Verifies keys and forwards requests to Cores.")]
    console: Annotated[Scale, Field(description="The management API, and the page behind a secret link.")]
    migrate: Annotated[Size, Field(description="The one-off task that brings the database up to date.")]

    def of(self, process: str) -> Size:
        """The size of one process of the contract. Raises KeyError for a process without settings."""
        return {"gateway": self.gateway, "console": self.console, "migrate": self.migrate}[process]

    def scale(self, process: str) -> Scale:
        """The same for a process that serves."""
        return {"gateway": self.gateway, "console": self.console}[process]


class Edge(Section):
    """Load balancer and WAF."""

    deletion_protection: Annotated[
        Flag, Field(description="The load balancer cannot be deleted; a new one would have another DNS name.")
    ]
    requests_max: Annotated[
        int,
        whole(100, 2_000_000, "requests in five minutes from one address"),
        Field(description="Requests in five minutes from one address to all services; the WAF answers more of them with 429."),
    ]
    console_requests_max: Annotated[
        int,
        whole(100, 2_000_000, "requests in five minutes from one address"),
        Field(description="The same for the console alone: people and their scripts, so far fewer than at the gateway."),
    ]
    sharing_requests_max: Annotated[
        int,
        whole(100, 2_000_000, "requests in five minutes from one address"),
        Field(description="The same for the page behind a secret link: a person opens few of them; a guesser many."),
    ]

    def service_requests_max(self) -> dict[str, int]:
        """The bound of each service that has one of its own."""
        return {"console": self.console_requests_max, "sharing": self.sharing_requests_max}


class Watch(Section):
    """Alarms."""

    emails: Annotated[
        tuple[str, ...],
        listed(r"[^@\s]+@[^@\s]+\.[^@\s]+", 0, 10, "e-mail addresses"),
        Field(description="Who hears of an alarm, and of its end. Each address must confirm once."),
    ]
    latency_s_max: Annotated[
        int,
        whole(1, 60, "seconds"),
        Field(
            description="Seconds that the slowest request in a hundred may take at a service, five minutes long, before an alarm."
        ),
    ]
    rejected_max: Annotated[
        int,
        whole(1, 1_000_000, "refused keys in five minutes"),
        Field(description="Requests that the gateway refuses for their key in five minutes, before an alarm."),
    ]
    probe_minutes: Annotated[int, word(0, 1, 2, 5, 10, 15)]
    """Minutes between two requests from outside to each service; two that fail are an alarm. 0 asks never."""
    runbooks_url: Annotated[
        str,
        text(
            r"https://[^\s/]+(/[^\s/]+)+", 'an https URL without a slash at its end, such as "https://example.com/docs/runbooks"'
        ),
        Field(description="Where people of the team read docs/runbooks; every alarm ends with the page that helps."),
    ]
    errors_max: Annotated[
        int,
        whole(1, 100_000, "failed requests in five minutes"),
        Field(description="Answers with 5xx in five minutes, of the load balancer or of a service, before an alarm."),
    ]


class Backup(Section):
    """AWS Backup of database, tokens table and data bucket, beside their own recovery."""

    days: Annotated[
        int, whole(7, 3650, "days"), Field(description="Days that each daily backup is kept, and its copy in second_region.")
    ]
    copy_away: Annotated[
        Flag, Field(description="Each backup is copied to a vault in second_region: it survives the loss of the region.")
    ]
    lock: Annotated[
        str,
        word("none", "GOVERNANCE", "COMPLIANCE"),
        Field(
            description="Who may delete a backup before its days are over: none does not lock, GOVERNANCE leaves it to those "
            "who may remove the lock, COMPLIANCE to nobody, AWS and the account's owner included, from the fourth day on."
        ),
    ]


class Budget(Section):
    """What the stack may cost, and who hears when it costs more."""

    monthly_usd: Annotated[
        int,
        whole(1, 1_000_000, "USD a month"),
        Field(description="Budget of a month. Told at 80 and 100 percent of it, and when the forecast of the month is above it."),
    ]
    anomaly_usd: Annotated[
        int,
        whole(1, 100_000, "USD"),
        Field(description="What an unusual rise of cost must come to before it is told."),
    ]


class Baseline(Section):
    """The guards of a whole AWS account: one stack of an account has them, the others leave them to it."""

    enabled: Annotated[
        Flag,
        Field(
            description="This stack sets the account's guards: no public buckets, encrypted disks, password policy, GuardDuty, "
            "Security Hub, Config and Access Analyzer. Exactly one stack of an account and region."
        ),
    ]
    kept_by: Annotated[
        str,
        text(r"|[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}", 'project/stack, such as "gatehouse/prod", or ""'),
        Field(
            description="The stack that sets the account's guards when this one does not, as project/stack. The policies take "
            "its word (stack output accountBaseline); empty says that nobody sets them, and the policies say so too."
        ),
    ]
    block_public_vpcs: Annotated[
        Flag,
        Field(
            description="No VPC of account and region is reached from the internet, other than our load balancer's subnets. "
            "Shuts out every other VPC there too, unless it has an exclusion of its own."
        ),
    ]
