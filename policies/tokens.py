"""Type tokens of pulumi-aws that the rules match; where two families name the same thing (`lb` and `alb`, `*V2`),
both.
"""


def _s3(name: str) -> tuple[str, ...]:
    """pulumi-aws 7 still registers the deprecated `*V2` classes of version 6 under their old tokens."""
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
BUCKET_PUBLIC_ACCESS_BLOCK = ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",)
BUCKET_VERSIONING = _s3("BucketVersioning")

KEY = ("aws:kms/key:Key",)
KEY_POLICY = ("aws:kms/keyPolicy:KeyPolicy",)

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
WEB_ACL = ("aws:wafv2/webAcl:WebAcl",)
WEB_ACL_ASSOCIATION = ("aws:wafv2/webAclAssociation:WebAclAssociation",)
WEB_ACL_LOGGING = ("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",)

DB_INSTANCE = ("aws:rds/instance:Instance",)
DB_CLUSTER = ("aws:rds/cluster:Cluster",)
DB_CLUSTER_INSTANCE = ("aws:rds/clusterInstance:ClusterInstance",)
DB_PARAMETERS = ("aws:rds/parameterGroup:ParameterGroup",)
DB_CLUSTER_PARAMETERS = ("aws:rds/clusterParameterGroup:ClusterParameterGroup",)
DB_SUBNETS = ("aws:rds/subnetGroup:SubnetGroup",)
DB_SNAPSHOT = ("aws:rds/snapshot:Snapshot", "aws:rds/clusterSnapshot:ClusterSnapshot")

CACHE = ("aws:elasticache/replicationGroup:ReplicationGroup",)
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
SUBNET = ("aws:ec2/subnet:Subnet",)
VPC_ENDPOINT = ("aws:ec2/vpcEndpoint:VpcEndpoint",)

ROLE = ("aws:iam/role:Role",)
ROLE_POLICY = ("aws:iam/rolePolicy:RolePolicy",)
ROLE_POLICY_ATTACHMENT = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment",)
POLICY = ("aws:iam/policy:Policy",)
POLICY_ATTACHMENT = ("aws:iam/policyAttachment:PolicyAttachment",)
GROUP_POLICY = ("aws:iam/groupPolicy:GroupPolicy",)
GROUP_POLICY_ATTACHMENT = ("aws:iam/groupPolicyAttachment:GroupPolicyAttachment",)
USER = ("aws:iam/user:User",)
USER_LIKE = (
    "aws:iam/user:User",
    "aws:iam/accessKey:AccessKey",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/userLoginProfile:UserLoginProfile",
)

FUNCTION = ("aws:lambda/function:Function",)
FUNCTION_PERMISSION = ("aws:lambda/permission:Permission",)
FUNCTION_URL = ("aws:lambda/functionUrl:FunctionUrl",)
TRAIL = ("aws:cloudtrail/trail:Trail",)
LOG_GROUP = ("aws:cloudwatch/logGroup:LogGroup",)
METRIC_ALARM = ("aws:cloudwatch/metricAlarm:MetricAlarm",)
COMPOSITE_ALARM = ("aws:cloudwatch/compositeAlarm:CompositeAlarm",)
TOPIC = ("aws:sns/topic:Topic",)
BACKUP_VAULT = ("aws:backup/vault:Vault",)
AWS_PROVIDER = "pulumi:providers:aws"
STACK = "pulumi:pulumi:Stack"
