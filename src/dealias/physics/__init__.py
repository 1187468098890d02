"""physics floor."""
