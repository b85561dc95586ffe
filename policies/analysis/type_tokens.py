"""Type tokens of pulumi-aws. A constant holds all tokens of one AWS resource, such as `lb` and `alb`, or `*V2`."""


def _s3(name: str) -> tuple[str, ...]:
    """The token of a class and of its deprecated `*V2` variant, which pulumi-aws 7 still registers."""
    lower = name[0].lower() + name[1:]
    return (f"aws:s3/{lower}:{name}", f"aws:s3/{lower}V2:{name}V2")


def _lb(name: str) -> tuple[str, ...]:
    lower = name[0].lower() + name[1:]
    return (f"aws:lb/{lower}:{name}", f"aws:alb/{lower}:{name}")


BUCKET = _s3("Bucket")
BUCKET_ACL = _s3("BucketAcl")
BUCKET_ENCRYPTION = _s3("BucketServerSideEncryptionConfiguration")
BUCKET_LIFECYCLE = _s3("BucketLifecycleConfiguration")
BUCKET_LOGGING = _s3("BucketLogging")
BUCKET_OWNERSHIP = ("aws:s3/bucketOwnershipControls:BucketOwnershipControls",)
BUCKET_POLICY = ("aws:s3/bucketPolicy:BucketPolicy",)
BUCKET_OBJECT_LOCK = _s3("BucketObjectLockConfiguration")
BUCKET_REPLICATION = ("aws:s3/bucketReplicationConfig:BucketReplicationConfig",)
BUCKET_PUBLIC_ACCESS_BLOCK = ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",)
BUCKET_VERSIONING = _s3("BucketVersioning")
ACCOUNT_PUBLIC_ACCESS_BLOCK = ("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",)
# Deprecated classes of pulumi-aws 6.
S3_DEPRECATED = tuple(
    _s3(name)[1]
    for name in (
        *("Bucket", "BucketAcl", "BucketServerSideEncryptionConfiguration", "BucketLifecycleConfiguration", "BucketLogging"),
        *("BucketObjectLockConfiguration", "BucketVersioning", "BucketAccelerateConfiguration", "BucketCorsConfiguration"),
        *("BucketRequestPaymentConfiguration", "BucketWebsiteConfiguration"),
    )
)

KEY = ("aws:kms/key:Key",)
KEY_POLICY = ("aws:kms/keyPolicy:KeyPolicy",)
KEY_ALIAS = ("aws:kms/alias:Alias",)
REPLICA_KEY = ("aws:kms/replicaKey:ReplicaKey",)

SECRET = ("aws:secretsmanager/secret:Secret",)
SECRET_POLICY = ("aws:secretsmanager/secretPolicy:SecretPolicy",)
SECRET_ROTATION = ("aws:secretsmanager/secretRotation:SecretRotation",)
SECRET_VERSION = ("aws:secretsmanager/secretVersion:SecretVersion",)

CLUSTER = ("aws:ecs/cluster:Cluster",)
SERVICE = ("aws:ecs/service:Service",)
TASK_DEFINITION = ("aws:ecs/taskDefinition:TaskDefinition",)
SCALING_TARGET = ("aws:appautoscaling/target:Target",)
REPOSITORY = ("aws:ecr/repository:Repository",)
REPOSITORY_LIFECYCLE = ("aws:ecr/lifecyclePolicy:LifecyclePolicy",)

LISTENER = _lb("Listener")
LOAD_BALANCER = _lb("LoadBalancer")
TARGET_GROUP = _lb("TargetGroup")
CERTIFICATE = ("aws:acm/certificate:Certificate",)
DISTRIBUTION = ("aws:cloudfront/distribution:Distribution",)
WEB_ACL = ("aws:wafv2/webAcl:WebAcl",)
WEB_ACL_ASSOCIATION = ("aws:wafv2/webAclAssociation:WebAclAssociation",)
WEB_ACL_LOGGING = ("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",)

DB_INSTANCE = ("aws:rds/instance:Instance",)
DB_CLUSTER = ("aws:rds/cluster:Cluster",)
DB_CLUSTER_INSTANCE = ("aws:rds/clusterInstance:ClusterInstance",)
DB_PARAMETERS = ("aws:rds/parameterGroup:ParameterGroup",)
DB_CLUSTER_PARAMETERS = ("aws:rds/clusterParameterGroup:ClusterParameterGroup",)
DB_SUBNETS = ("aws:rds/subnetGroup:SubnetGroup",)
DB_EVENTS = ("aws:rds/eventSubscription:EventSubscription",)
DB_SNAPSHOT = ("aws:rds/snapshot:Snapshot", "aws:rds/clusterSnapshot:ClusterSnapshot")

CACHE = ("aws:elasticache/replicationGroup:ReplicationGroup",)
CACHE_CLUSTER = ("aws:elasticache/cluster:Cluster",)
CACHE_SERVERLESS = ("aws:elasticache/serverlessCache:ServerlessCache",)
CACHE_USER = ("aws:elasticache/user:User",)
CACHE_SUBNETS = ("aws:elasticache/subnetGroup:SubnetGroup",)
TABLE = ("aws:dynamodb/table:Table",)

VPC = ("aws:ec2/vpc:Vpc",)
DEFAULT_VPC = ("aws:ec2/defaultVpc:DefaultVpc",)
DEFAULT_SECURITY_GROUP = ("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",)
FLOW_LOG = ("aws:ec2/flowLog:FlowLog",)
INTERNET_GATEWAY = ("aws:ec2/internetGateway:InternetGateway",)
ROUTE = ("aws:ec2/route:Route",)
ROUTE_TABLE = ("aws:ec2/routeTable:RouteTable",)
ROUTE_TABLE_ASSOCIATION = ("aws:ec2/routeTableAssociation:RouteTableAssociation",)
SECURITY_GROUP = ("aws:ec2/securityGroup:SecurityGroup",)
SECURITY_GROUP_RULE = ("aws:ec2/securityGroupRule:SecurityGroupRule",)
SECURITY_GROUP_INGRESS = ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",)
SECURITY_GROUP_EGRESS = ("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",)
NETWORK_ACL = ("aws:ec2/networkAcl:NetworkAcl", "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl")
NETWORK_ACL_RULE = ("aws:ec2/networkAclRule:NetworkAclRule",)
SUBNET = ("aws:ec2/subnet:Subnet",)
VPC_ENDPOINT = ("aws:ec2/vpcEndpoint:VpcEndpoint",)
VPC_BLOCK_PUBLIC_ACCESS = ("aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions",)
VPC_BLOCK_EXCLUSION = ("aws:ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion",)

ROLE = ("aws:iam/role:Role",)
ROLE_POLICY = ("aws:iam/rolePolicy:RolePolicy",)
ROLE_POLICY_ATTACHMENT = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment",)
POLICY = ("aws:iam/policy:Policy",)
POLICY_ATTACHMENT = ("aws:iam/policyAttachment:PolicyAttachment",)
GROUP_POLICY = ("aws:iam/groupPolicy:GroupPolicy",)
GROUP_POLICY_ATTACHMENT = ("aws:iam/groupPolicyAttachment:GroupPolicyAttachment",)
USER = ("aws:iam/user:User",)
USER_RESOURCES = (
    "aws:iam/user:User",
    "aws:iam/accessKey:AccessKey",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/userLoginProfile:UserLoginProfile",
)

FUNCTION = ("aws:lambda/function:Function",)
FUNCTION_PERMISSION = ("aws:lambda/permission:Permission",)
FUNCTION_URL = ("aws:lambda/functionUrl:FunctionUrl",)
FUNCTION_EVENTS = ("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",)
REST_API = ("aws:apigateway/restApi:RestApi",)
REST_DOMAIN = ("aws:apigateway/domainName:DomainName",)
REST_METHOD = ("aws:apigateway/method:Method",)
REST_METHOD_SETTINGS = ("aws:apigateway/methodSettings:MethodSettings",)
REST_STAGE = ("aws:apigateway/stage:Stage",)
HTTP_API = ("aws:apigatewayv2/api:Api",)
HTTP_DOMAIN = ("aws:apigatewayv2/domainName:DomainName",)
HTTP_ROUTE = ("aws:apigatewayv2/route:Route",)
HTTP_STAGE = ("aws:apigatewayv2/stage:Stage",)
TRAIL = ("aws:cloudtrail/trail:Trail",)
LOG_GROUP = ("aws:cloudwatch/logGroup:LogGroup",)
METRIC_ALARM = ("aws:cloudwatch/metricAlarm:MetricAlarm",)
COMPOSITE_ALARM = ("aws:cloudwatch/compositeAlarm:CompositeAlarm",)
DASHBOARD = ("aws:cloudwatch/dashboard:Dashboard",)
LOG_DATA_PROTECTION = ("aws:cloudwatch/logDataProtectionPolicy:LogDataProtectionPolicy",)
METRIC_FILTER = ("aws:cloudwatch/logMetricFilter:LogMetricFilter",)
TOPIC = ("aws:sns/topic:Topic",)
TOPIC_POLICY = ("aws:sns/topicPolicy:TopicPolicy",)
BACKUP_VAULT = ("aws:backup/vault:Vault",)
BACKUP_VAULT_LOCK = ("aws:backup/vaultLockConfiguration:VaultLockConfiguration",)
BACKUP_VAULT_POLICY = ("aws:backup/vaultPolicy:VaultPolicy",)
BACKUP_PLAN = ("aws:backup/plan:Plan",)
BACKUP_SELECTION = ("aws:backup/selection:Selection",)
CONFIG_RECORDER = ("aws:cfg/recorder:Recorder",)
GUARD_DUTY = ("aws:guardduty/detector:Detector",)
SECURITY_HUB = ("aws:securityhub/account:Account",)
ACCESS_ANALYZER = ("aws:accessanalyzer/analyzer:Analyzer",)
EBS_ENCRYPTION = ("aws:ebs/encryptionByDefault:EncryptionByDefault",)
BUDGET = ("aws:budgets/budget:Budget",)
ANOMALY_MONITOR = ("aws:costexplorer/anomalyMonitor:AnomalyMonitor",)
AWS_PROVIDER = "pulumi:providers:aws"
STACK = "pulumi:pulumi:Stack"
