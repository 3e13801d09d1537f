"""The ports' other side: the wire and SQL."""
