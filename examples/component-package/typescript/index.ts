// Before the first deployment: pulumi package add <component package>, see docs/guides/components.md.
import * as aws from "@pulumi/aws";
import * as gatehouse from "@pulumi/gatehouse";

const account = "123456789012";
const region = "eu-west-1";
const names = { stack: "shop", account, region };
const uploadsName = `gatehouse-shop-uploads-${account}-${region}`;

const provider = new aws.Provider("aws", { region, allowedAccountIds: [account] });
const options = { providers: [provider] };

const key = new gatehouse.KmsKey(
    "key",
    { names, alias: "data", description: "Uploads and flow logs", services: ["s3", "logs"] },
    options,
);

const accessLogs = new gatehouse.Bucket(
    "access-logs",
    {
        names,
        bucketName: `gatehouse-shop-logs-${account}-${region}`,
        dataClass: "log",
        purpose: "log-sink",
        logSources: [uploadsName],
        expireDays: 400,
    },
    options,
);

const uploads = new gatehouse.Bucket(
    "uploads",
    { names, bucketName: uploadsName, dataClass: "confidential", keyArn: key.arn, logBucket: accessLogs.name },
    options,
);

const flowLogRole = new aws.iam.Role(
    "flow-log-role",
    {
        assumeRolePolicy: JSON.stringify({
            Version: "2012-10-17",
            Statement: [
                {
                    Effect: "Allow",
                    Action: "sts:AssumeRole",
                    Principal: { Service: "vpc-flow-logs.amazonaws.com" },
                    Condition: { StringEquals: { "aws:SourceAccount": account } },
                },
            ],
        }),
    },
    { provider },
);

const network = new gatehouse.Network(
    "network",
    {
        names,
        network: { cidr: "10.60.0.0/16", zones: ["eu-west-1a", "eu-west-1b", "eu-west-1c"] },
        buckets: [uploadsName],
        logRoleArn: flowLogRole.arn,
        logs: { keyArn: key.arn, retentionDays: 400, protection: {} },
    },
    options,
);

// The guards of the account are managed outside this program. The policy packs read this output.
export const accountGuards = "external";
export const bucket = uploads.name;
export const vpc = network.vpcId;
