"""Where serving is called from: the broker and HTTP."""
