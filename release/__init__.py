"""The real thing on AWS: preview, deploy, destroy and logs through the Pulumi CLI, each after a check of what it needs."""
