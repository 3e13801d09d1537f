"""What serving does with what it hears, and what it needs for it."""
