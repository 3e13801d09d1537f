"""How submissions come in: from raw topics and over HTTP."""
