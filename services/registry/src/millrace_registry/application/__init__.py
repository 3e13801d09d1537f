"""Ports and handlers: one event in, events out."""
