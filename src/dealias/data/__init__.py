"""data floor."""
