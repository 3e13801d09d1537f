"""Registers the fixtures that all tests share, and the profile of long fuzzing."""

pytest_plugins = ["millrace_testkit.servers", "millrace_testkit.fuzzing"]
