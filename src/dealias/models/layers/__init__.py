"""models/layers floor."""
