"""A patch as a peft adapter, for servers that switch adapters on and off beside one base model."""
