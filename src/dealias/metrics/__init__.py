"""metrics floor."""
