"""models floor."""
