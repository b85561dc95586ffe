"""Code of a function, for its zip."""
