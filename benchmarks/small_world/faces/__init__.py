"""The small world's people: a model that draws portraits, networks that find and recognise faces, adapters of faces."""
