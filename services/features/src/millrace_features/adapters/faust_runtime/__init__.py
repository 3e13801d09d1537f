"""The Faust runtime: the same heart as a faust-streaming agent and a table with a changelog. See docs/decisions/0010."""
