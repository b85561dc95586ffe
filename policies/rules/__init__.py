"""The rules, one file an AWS service; a file decides about its own service's resources and touches nothing."""
