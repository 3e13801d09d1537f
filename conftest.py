"""Registers the fixtures that all tests share."""

pytest_plugins = ["millrace_testkit.servers"]
