"""The models of lm-evaluation-harness as a scorer: servers, vLLM, SGLang and the rest."""
