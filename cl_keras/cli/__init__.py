"""The command line: `cl-keras pretrain | evaluate | embed | export | demo`."""
