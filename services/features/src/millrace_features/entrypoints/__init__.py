"""Where features is called from: the broker and HTTP."""
