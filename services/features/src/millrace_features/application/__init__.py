"""One event in, vectors out."""
