"""What travels between the services, and nothing of what they do with it."""
