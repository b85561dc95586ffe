// Before the first deployment: pulumi package add <component package>, see docs/guides/components.md.
package main

import (
	"encoding/json"

	"example.com/pulumi-gatehouse/sdk/go/gatehouse"
	"github.com/pulumi/pulumi-aws/sdk/v7/go/aws"
	"github.com/pulumi/pulumi-aws/sdk/v7/go/aws/iam"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
	uploads = "gatehouse-shop-uploads-" + account + "-" + region
	logs    = "gatehouse-shop-logs-" + account + "-" + region
)

var names = gatehouse.NamingArgs{Stack: "shop", Account: account, Region: region}

func main() {
	pulumi.Run(program)
}

func program(ctx *pulumi.Context) error {
	provider, err := aws.NewProvider(ctx, "aws", &aws.ProviderArgs{
		Region:            pulumi.String(region),
		AllowedAccountIds: pulumi.ToStringArray([]string{account}),
	})
	if err != nil {
		return err
	}
	key, err := gatehouse.NewKmsKey(ctx, "key", &gatehouse.KmsKeyArgs{
		Names:       names,
		Alias:       "data",
		Description: "Uploads and flow logs",
		Services:    []string{"s3", "logs"},
	}, pulumi.Providers(provider))
	if err != nil {
		return err
	}
	bucket, err := storage(ctx, key, provider)
	if err != nil {
		return err
	}
	role, err := flowLogRole(ctx, provider)
	if err != nil {
		return err
	}
	network, err := gatehouse.NewNetwork(ctx, "network", &gatehouse.NetworkArgs{
		Names: names,
		Network: gatehouse.NetworkSettingsArgs{
			Cidr:  "10.60.0.0/16",
			Zones: []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"},
		},
		Buckets:    []string{uploads},
		LogRoleArn: role.Arn,
		Logs: gatehouse.LogOptionsArgs{
			KeyArn:        key.Arn,
			RetentionDays: 400,
			Protection:    &gatehouse.ProtectionSettingsArgs{},
		},
	}, pulumi.Providers(provider))
	if err != nil {
		return err
	}
	// The guards of the account are managed outside this program. The policy packs read this output.
	ctx.Export("accountGuards", pulumi.String("external"))
	ctx.Export("bucket", bucket.Name)
	ctx.Export("vpc", network.VpcId)
	return nil
}

// storage creates the bucket of uploads, and the bucket of its access logs.
func storage(ctx *pulumi.Context, key *gatehouse.KmsKey, provider *aws.Provider) (*gatehouse.Bucket, error) {
	accessLogs, err := gatehouse.NewBucket(ctx, "access-logs", &gatehouse.BucketArgs{
		Names:      names,
		BucketName: logs,
		DataClass:  "log",
		Purpose:    pulumi.StringRef("log-sink"),
		LogSources: []string{uploads},
		ExpireDays: pulumi.IntRef(400),
	}, pulumi.Providers(provider))
	if err != nil {
		return nil, err
	}
	return gatehouse.NewBucket(ctx, "uploads", &gatehouse.BucketArgs{
		Names:      names,
		BucketName: uploads,
		DataClass:  "confidential",
		KeyArn:     key.Arn,
		LogBucket:  accessLogs.Name,
	}, pulumi.Providers(provider))
}

func flowLogRole(ctx *pulumi.Context, provider *aws.Provider) (*iam.Role, error) {
	trust, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Effect":    "Allow",
			"Action":    "sts:AssumeRole",
			"Principal": map[string]string{"Service": "vpc-flow-logs.amazonaws.com"},
			"Condition": map[string]any{"StringEquals": map[string]string{"aws:SourceAccount": account}},
		}},
	})
	if err != nil {
		return nil, err
	}
	return iam.NewRole(ctx, "flow-log-role", &iam.RoleArgs{AssumeRolePolicy: pulumi.String(trust)}, pulumi.Provider(provider))
}
