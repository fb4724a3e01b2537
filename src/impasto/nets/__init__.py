"""Networks as layer tables, their weights, and the passes through them."""
