"""Protobuf, and the state's bytes."""
