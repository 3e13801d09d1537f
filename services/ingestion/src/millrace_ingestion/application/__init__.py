"""One submission in, events out."""
