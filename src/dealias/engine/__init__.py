"""engine floor."""
