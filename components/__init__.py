"""The infrastructure: one component a file, joined by the program and by nothing else."""
