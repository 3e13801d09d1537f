"""Turns events into feature vectors, each computed as of its event time and never from later data."""
