"""The Hugging Face Hub: pull models and patches, push models and patches."""
