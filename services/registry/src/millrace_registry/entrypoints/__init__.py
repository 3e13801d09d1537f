"""Where the outside comes in: topics and HTTP."""
