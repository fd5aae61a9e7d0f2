"""Tables and plots of a run, fed by the dataclasses of ``siamese.verification`` only."""
