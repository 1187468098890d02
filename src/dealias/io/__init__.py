"""io floor."""
