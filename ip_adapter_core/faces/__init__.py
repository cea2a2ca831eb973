"""Faces: finding them in pictures, and what recognition networks say of them. Host-free."""
