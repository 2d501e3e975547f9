"""Words in, words out: prompts, reference descriptions, and what is read from an answer."""
