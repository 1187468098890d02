"""Studies: whether a training repeats, how much chance is in it, what each technique gives."""
