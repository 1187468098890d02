"""evaluation floor."""
