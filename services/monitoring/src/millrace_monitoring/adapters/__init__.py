"""Protobuf and SQL."""
