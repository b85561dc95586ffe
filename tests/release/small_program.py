"""The resources that a deployment uses, and some that images change."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws

settings: dict[str, Any] = pulumi.Config("gatehouse").require_object("settings")
stack, digest = pulumi.get_stack(), settings["image"]["digest"]
provider = aws.Provider("aws", region=settings["region"], allowed_account_ids=[settings["account"]])
opts = pulumi.ResourceOptions(provider=provider)

cluster = aws.ecs.Cluster("main", name=f"gatehouse-{stack}-main", opts=opts)
definitions: dict[str, aws.ecs.TaskDefinition] = {}
services: dict[str, aws.ecs.Service] = {}
for name in ("migrate", "gateway", "console"):
    # One operation at a time: when a test lets the credentials expire, no other operation is in
    # progress.
    previous = list(services.values())
    definitions[name] = aws.ecs.TaskDefinition(
        name,
        family=f"gatehouse-{stack}-{name}",
        container_definitions=json.dumps([{"name": name, "image": f"gatehouse@{digest}"}]),
        opts=pulumi.ResourceOptions(provider=provider, depends_on=previous),
    )
    if name == "migrate":
        migration = aws.lambda_.Invocation(
            "migration",
            function_name=f"gatehouse-{stack}-migration",
            input=definitions[name].arn.apply(lambda arn: json.dumps({"taskDefinition": arn})),
            triggers={"task": definitions[name].arn},
            opts=opts,
        )
    else:
        services[name] = aws.ecs.Service(
            name,
            name=f"gatehouse-{stack}-{name}",
            cluster=cluster.arn,
            task_definition=definitions[name].arn,
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[migration]),
        )
for number in range(5):
    aws.ssm.Parameter(
        f"updated-{number}", name=f"/{number}", type="String", value=digest, opts=opts
    )
    aws.s3.Bucket(f"replaced-{number}", bucket=f"{number}-{digest[-8:]}", opts=opts)

pulumi.export("cluster", cluster.name)
pulumi.export(
    "services",
    {
        name: {"service": service.name, "taskDefinition": definitions[name].arn}
        for name, service in services.items()
    },
)
pulumi.export(
    "migration",
    {
        "taskDefinition": definitions["migrate"].arn,
        "subnets": ["subnet-1"],
        "securityGroup": "sg-1",
    },
)
pulumi.export("urls", {name: f"https://{name}.{settings['domain']}" for name in services})
