"""The painters: one module per style, each with `ASPECT` and `paint(shape, rng)`."""
