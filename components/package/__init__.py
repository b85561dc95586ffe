"""The component package: components of this repository for Pulumi programs in every language."""
