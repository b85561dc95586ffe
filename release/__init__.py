"""Commands that release to AWS with the Pulumi CLI."""
