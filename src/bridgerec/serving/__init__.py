"""The service: a bundle in, recommendations out.  Needs no workflow tool."""
