"""Published weights: list, load, card, download, publish, and import of official checkpoints."""
