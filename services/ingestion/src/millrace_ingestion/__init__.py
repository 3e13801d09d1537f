"""Ingestion: users' raw messages become accepted events and labels, or are refused with the reason and the fix."""
