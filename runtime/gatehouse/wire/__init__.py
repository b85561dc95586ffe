"""The JSON shapes that the doors speak, one file a resource."""
