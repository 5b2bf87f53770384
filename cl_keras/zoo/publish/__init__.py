"""From a finished run to an entry."""
