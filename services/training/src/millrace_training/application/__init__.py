"""One event in, events out."""
