"""Services that Lambda functions serve from the same image, instead of a process: one module a function, named in contract.toml."""
