"""From a library's model to the one that ships: its probabilities and intervals (`finishing`), its artifact (`export`)."""
