"""runs floor."""
