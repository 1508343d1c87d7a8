"""What Dockerfile.vllm adds to vLLM's image. Standard library only: of ours, nothing else is in there."""
