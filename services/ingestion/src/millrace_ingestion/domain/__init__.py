"""What an event and a label must be, and what follows from one. Pure: no I/O, no clock."""
