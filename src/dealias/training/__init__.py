"""training floor."""
