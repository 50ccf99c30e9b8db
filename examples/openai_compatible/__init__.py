"""A language model's service that OpenAI's clients talk to, with a toy in place of the model."""
