"""SQL, the lake, the object store, the child processes, the wire."""
