"""Documented events of AWS services, for account 123456789012."""

from typing import Any

ACCOUNT, REGION = "123456789012", "eu-west-1"


def _event(
    source: str, detail_type: str, detail: dict[str, Any], *resources: str
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "710b0398-d48e-f3c3-afca-cfeb2fdaa656",
        "source": source,
        "detail-type": detail_type,
        "account": ACCOUNT,
        "region": REGION,
        "time": "2026-11-20T20:15:26Z",
        "resources": list(resources),
        "detail": detail,
    }


def rotation(name: str, stack: str) -> dict[str, Any]:
    """Source: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"."""
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gatehouse/{stack}/pepper-a1B2c3"
    detail = {
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": name,
        "eventType": "AwsServiceEvent",
        "additionalEventData": {"SecretId": secret},
    }
    return _event("aws.secretsmanager", "AWS Service Event via CloudTrail", detail)


def deployment(name: str, stack: str) -> dict[str, Any]:
    """Source: ECS Developer Guide, "Amazon ECS service deployment state change events"."""
    service = (
        f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/gatehouse-{stack}-main/gatehouse-{stack}-console"
    )
    kind = "ERROR" if name == "SERVICE_DEPLOYMENT_FAILED" else "INFO"
    detail = {
        "eventType": kind,
        "eventName": name,
        "deploymentId": "ecs-svc/123",
        "reason": "ECS deployment circuit breaker.",
    }
    return _event("aws.ecs", "ECS Deployment State Change", detail, service)


def service_action(name: str, stack: str) -> dict[str, Any]:
    """Source: ECS Developer Guide, "Amazon ECS service action events" (2026-11-30)."""
    cluster = f"gatehouse-{stack}-main"
    detail = {
        "eventType": "INFO" if name == "SERVICE_STEADY_STATE" else "ERROR",
        "eventName": name,
        "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster}",
        "createdAt": "2026-11-30T06:00:00.000Z",
        "reason": "RESOURCE:FARGATE",
    }
    service = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/{cluster}/gatehouse-{stack}-gateway"
    return _event("aws.ecs", "ECS Service Action", detail, service)


def key_call(name: str, key: str, **fields: str) -> dict[str, Any]:
    """A call on a key of the program with mocked ARNs. Source: KMS Developer Guide, "AWS CloudTrail
    log entries", and EventBridge User Guide, "AWS service events delivered via AWS CloudTrail"
    (2026-11-30).
    """
    resource = {"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": f"arn:aws:mock:::{key}"}
    detail = {
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "requestParameters": {"keyId": "1234abcd-12ab-34cd-56ef-1234567890ab"},
        "resources": [resource],
        "eventType": "AwsApiCall",
        **fields,
    }
    return _event("aws.kms", "AWS API Call via CloudTrail", detail)


def backup_job(state: str, stack: str) -> dict[str, Any]:
    vault = f"gatehouse-{stack}-backup"
    detail = {
        "backupJobId": "34176239-e96d-4e1d-9fad-529dbb3c3556",
        "backupVaultArn": f"arn:aws:backup:{REGION}:{ACCOUNT}:backup-vault:{vault}",
        "backupVaultName": vault,
    }
    return _job("Backup", state, detail)


def copy_job(state: str, stack: str) -> dict[str, Any]:
    vault = f"{ACCOUNT}:backup-vault:gatehouse-{stack}-backup"
    detail = {
        "copyJobId": "47C8EF56-74D8-059D-1301-C5BE1D5C926E",
        "sourceBackupVaultArn": f"arn:aws:backup:{REGION}:{vault}",
        "destinationBackupVaultArn": f"arn:aws:backup:eu-central-1:{vault}",
    }
    return _job("Copy", state, detail)


def _job(kind: str, state: str, detail: dict[str, Any]) -> dict[str, Any]:
    """Source: AWS Backup Developer Guide, "Monitoring AWS Backup events using Amazon
    EventBridge".
    """
    detail |= {"resourceType": "RDS", "state": state}
    return _event("aws.backup", f"{kind} Job State Change", detail)


def guardduty_finding(severity: float) -> dict[str, Any]:
    """Source: GuardDuty User Guide, "Processing GuardDuty findings with Amazon EventBridge"."""
    detail = {
        "type": "CredentialAccess:IAMUser/AnomalousBehavior",
        "severity": severity,
        "service": {"archived": False},
    }
    return _event("aws.guardduty", "GuardDuty Finding", detail)


def security_hub_finding(
    label: str, product: str = "Security Hub", status: str = "NEW"
) -> dict[str, Any]:
    """Source: Security Hub CSPM User Guide, "EventBridge event formats for Security Hub CSPM"."""
    finding = {
        "ProductName": product,
        "RecordState": "ACTIVE",
        "Severity": {"Label": label},
        "Workflow": {"Status": status},
    }
    return _event("aws.securityhub", "Security Hub Findings - Imported", {"findings": [finding]})


def access_analyzer_finding(status: str, *, deleted: bool = False) -> dict[str, Any]:
    """Source: IAM User Guide, "Monitoring IAM Access Analyzer with Amazon EventBridge"."""
    detail = {
        "version": "1.0",
        "status": status,
        "isDeleted": deleted,
        "isPublic": True,
        "resourceType": "AWS::S3::Bucket",
    }
    return _event("aws.access-analyzer", "Access Analyzer Finding", detail)
