"""The Pulumi CLI, and the files and the state of a stack."""
