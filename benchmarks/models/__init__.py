"""Many models in one serving process."""
