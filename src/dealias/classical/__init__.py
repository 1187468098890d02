"""classical floor."""
