"""Processes of the service's own: work in a child with limits (`children`), what it uses (`metering`), whom it started (`family`)."""
