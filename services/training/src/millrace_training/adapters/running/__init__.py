"""Carrying out the runs that were decided on (`runner`), what is recorded of them, and making them again (`reproducing`)."""
