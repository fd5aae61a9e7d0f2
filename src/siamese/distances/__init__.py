"""How far apart two embeddings are: smaller is more alike, always."""
