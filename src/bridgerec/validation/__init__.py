"""Are the raw tables fit to learn from?  Expectation suites and cross-table checks."""
