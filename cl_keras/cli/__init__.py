"""The command line, `cl-keras COMMAND`."""
