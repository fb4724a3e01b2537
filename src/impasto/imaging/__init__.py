"""What `impasto.picture` is made of: file formats, metadata, colour profiles, values, sizes."""
