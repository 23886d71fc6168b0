"""The CodeGenBias prompts: professions x modifiers x templates, tied to factual shares."""
