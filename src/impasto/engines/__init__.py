"""Engines: what turns a photo and styles into a picture."""
