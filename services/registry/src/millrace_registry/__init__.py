"""The registry: which pipeline files are in force, which model versions there are, and which one answers."""
