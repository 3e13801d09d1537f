"""One event in, events out; ports say what a handler needs of the world."""
