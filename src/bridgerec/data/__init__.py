"""Tables in, id-encoded interactions, histories and splits out."""
