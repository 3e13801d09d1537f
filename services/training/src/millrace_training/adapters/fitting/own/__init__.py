"""Models of the user's own: estimators by import path, and programs."""
