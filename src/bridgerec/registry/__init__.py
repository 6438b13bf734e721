"""From an evaluated candidate to a release: the gate, the bundle, the dossier, the Bento."""
