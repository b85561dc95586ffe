"""Commands that release to AWS with the Pulumi CLI: preview, deploy, verify, rollback, destroy and
logs.
"""
