"""End-to-end tests against a real vLLM (its CPU build); `just test-vllm` runs them."""
