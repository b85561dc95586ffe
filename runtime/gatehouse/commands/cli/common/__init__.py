"""What all commands use."""
