"""The resources of the benchmark as a Terraform plan, which Checkov reads."""

import json
from collections.abc import Iterator
from typing import Any

ACCOUNT = "123456789012"


def plan(services: int) -> str:
    """A plan with the resources of that number of services, in the JSON of `terraform show`."""
    rows = [row for number in range(services) for row in _service(number)]
    resources = [
        {
            **{"address": f"{kind}.{name}", "mode": "managed", "type": kind, "name": name},
            **{"provider_name": "registry.terraform.io/hashicorp/aws", "values": values},
        }
        for kind, name, values in rows
    ]
    changes = [
        {
            **{key: row[key] for key in ("address", "mode", "type", "name", "provider_name")},
            "change": {"actions": ["create"], "before": None, "after": row["values"]},
        }
        for row in resources
    ]
    document = {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": []}},
    }
    return json.dumps(document)


def _document(**statement: Any) -> str:
    statements = [{"Effect": "Allow", **statement}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _service(number: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    name = f"service-{number}"
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{name}"
    bucket = f"arn:aws:s3:::{name}"
    yield "aws_kms_key", name, {"enable_key_rotation": True, "description": name}
    yield "aws_kms_alias", name, {"target_key_id": key, "name": f"alias/{name}"}
    yield "aws_s3_bucket", name, {"bucket": name}
    flags = ("block_public_acls", "block_public_policy", "ignore_public_acls")
    blocked = dict.fromkeys((*flags, "restrict_public_buckets"), True)
    yield "aws_s3_bucket_public_access_block", name, {"bucket": name, **blocked}
    enabled = [{"status": "Enabled"}]
    yield "aws_s3_bucket_versioning", name, {"bucket": name, "versioning_configuration": enabled}
    default = [{"sse_algorithm": "aws:kms", "kms_master_key_id": key}]
    rule = [{"apply_server_side_encryption_by_default": default}]
    kind = "aws_s3_bucket_server_side_encryption_configuration"
    yield kind, name, {"bucket": name, "rule": rule}
    policy = _document(Action="s3:GetObject", Resource=f"{bucket}/*")
    yield "aws_s3_bucket_policy", name, {"bucket": name, "policy": policy}
    encryption = [{"enabled": True, "kms_key_arn": key}]
    table = {"hash_key": "id", "billing_mode": "PAY_PER_REQUEST"}
    table |= {"server_side_encryption": encryption, "name": name}  # type: ignore[dict-item]
    yield "aws_dynamodb_table", name, table
    trust = _document(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    yield "aws_iam_role", name, {"name": name, "assume_role_policy": trust}
    actions = ["s3:GetObject", "s3:ListBucket"]
    reads = _document(Action=actions, Resource=[bucket, f"{bucket}/*"])
    yield "aws_iam_role_policy", name, {"role": name, "policy": reads}
    group = {"name": f"/aws/lambda/{name}", "retention_in_days": 365}
    yield "aws_cloudwatch_log_group", name, group
    environment = [{"variables": {"BUCKET": name, "LEVEL": "info"}}]
    function = {"function_name": name, "runtime": "python3.13", "handler": "app.handler"}
    yield "aws_lambda_function", name, {**function, "environment": environment}
    yield "aws_sqs_queue", f"{name}-dead", {"kms_master_key_id": key}
    redrive = json.dumps({"deadLetterTargetArn": key, "maxReceiveCount": 5})
    yield "aws_sqs_queue", name, {"kms_master_key_id": key, "redrive_policy": redrive}
    yield "aws_sns_topic", name, {"kms_master_key_id": key}
    alarm = {"namespace": "AWS/SQS", "metric_name": "ApproximateNumberOfMessagesVisible"}
    yield "aws_cloudwatch_metric_alarm", name, {**alarm, "period": 300, "threshold": 0}
    network = f"10.{number % 250}"
    yield "aws_vpc", name, {"cidr_block": f"{network}.0.0/16"}
    yield "aws_subnet", name, {"vpc_id": name, "cidr_block": f"{network}.1.0/24"}
    yield "aws_security_group", name, {"vpc_id": name, "description": name}
    ingress = {"security_group_id": name, "ip_protocol": "tcp", "from_port": 443, "to_port": 443}
    yield "aws_vpc_security_group_ingress_rule", name, {**ingress, "cidr_ipv4": "10.0.0.0/8"}
