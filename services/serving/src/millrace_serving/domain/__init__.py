"""What serving is about: champions, vectors, answers. Pure."""
