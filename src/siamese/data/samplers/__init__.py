"""Which images meet in which training batch."""
