"""Sends recorded history as it happened: events, and each label when it became known."""
