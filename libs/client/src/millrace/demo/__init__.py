"""The demo: two years of bike rentals through the whole loop, in minutes, and what came of it."""
