"""What every service is around its heart: settings, HTTP, lifecycle."""
