"""The configuration of a run, and everything that is built from it.

`config` and its imports do not need TensorFlow, so the command line shows its help at once; `build`
does.
"""
