"""Pulumi components of the AWS infrastructure, one per file. `__main__.py` composes them."""
