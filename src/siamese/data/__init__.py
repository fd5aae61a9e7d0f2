"""Who is in which split and which batch."""
