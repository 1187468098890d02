"""Kernels in C for what takes most of a network's time on a CPU, where a C compiler is found."""
