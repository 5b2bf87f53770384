"""From options to a model: the configuration of a run, and everything that is built from it.

`config` and what it imports need no TensorFlow, so that the command line can show its help at once;
`build` does.
"""
