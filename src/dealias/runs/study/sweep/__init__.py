"""Sweeps: trials of one recipe under settings that are drawn, shared by several workers."""
