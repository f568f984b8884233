"""Which steps, in which order, with which resources; and the command line."""
