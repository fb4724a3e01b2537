"""Training of the networks that Impasto ships, or that a user makes of one style."""
