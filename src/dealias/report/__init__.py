"""report floor."""
