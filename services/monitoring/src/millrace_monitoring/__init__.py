"""Monitoring: what a champion sees and answers is held against what it was trained on, and its errors against its own past."""
