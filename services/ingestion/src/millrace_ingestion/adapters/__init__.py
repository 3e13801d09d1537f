"""JSON and CloudEvents, protobuf, the state's bytes, the log."""
