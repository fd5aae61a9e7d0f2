"""Tables and pictures of a run, fed by the dataclasses of ``siamese.verification`` only."""
