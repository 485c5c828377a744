"""One frozen tree of layers, and everything that follows from it: counts, shapes, torch module, source, JSON."""
