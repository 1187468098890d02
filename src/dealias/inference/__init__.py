"""inference floor."""
