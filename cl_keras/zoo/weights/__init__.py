"""The project's own weight files, and the models that they fill."""
