"""The parts of the simulator: words, catalogues, people and their events."""
