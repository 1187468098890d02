"""Weights of other projects: how their files are told, and what their parameters are here."""
