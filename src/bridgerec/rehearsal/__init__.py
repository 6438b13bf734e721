"""The closed loop played through once: a small world, real servers, and a story of it."""
