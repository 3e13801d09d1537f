"""The commands, in groups; each module adds its own to the command line."""
