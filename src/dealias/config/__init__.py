"""config floor."""
