"""scan floor."""
