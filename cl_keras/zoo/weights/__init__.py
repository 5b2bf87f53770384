"""The project's own weight files, and building models from them."""
