"""What a vector is made of: pure functions of an event and of what is remembered of its entity."""
