"""dealias: train, run, judge and explain networks for accelerated multi-coil MRI.

Research use only, not a medical device.
"""

__version__ = "0.1.0"
