"""Model artifacts: what training writes and serving loads. Importing it loads numpy and msgspec, never a model library."""
