"""What became of past claims: the claims on record, how each is decided by later rows, and the figures that follow."""
