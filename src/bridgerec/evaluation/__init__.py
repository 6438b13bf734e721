"""How recommendations are judged: full ranking, segments, intervals."""
