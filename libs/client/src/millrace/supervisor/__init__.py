"""Runs a whole stack as local processes: starts, watches, restarts and ends them."""
