"""Training: decides when a pipeline learns again, keeps what it can learn from, and runs the learning."""
