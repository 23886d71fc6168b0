"""Run generated code in child processes that are limited; isolation, not a security sandbox."""
