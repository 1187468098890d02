"""physics/sampling floor."""
