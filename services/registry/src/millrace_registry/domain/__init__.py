"""Nouns and rules: no I/O, no clock, no ids of its own."""
