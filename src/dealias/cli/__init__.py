"""cli floor."""
