"""Files of entries on this machine: fetched once, checked at every use."""
