"""The words that every service shares. Standard library only: no I/O, no framework, no clock of its own."""
