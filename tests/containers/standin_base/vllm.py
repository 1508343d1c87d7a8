#!/opt/venv/bin/python
"""`vllm serve` as the start script calls it, carried out by our stand-in. Flags that it does not know it refuses."""

import argparse
import os
import sys

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("verb", choices=["serve"])
parser.add_argument("model")
for flag in ("host", "port", "served-model-name", "max-model-len", "max-num-seqs", "max-num-queued-reqs"):
    parser.add_argument(f"--{flag}", required=True)
for flag in ("gpu-memory-utilization", "kv-cache-dtype", "shutdown-timeout", "tool-call-parser", "chat-template"):
    parser.add_argument(f"--{flag}")
parser.add_argument("--allowed-media-domains", nargs="+", required=True)
for flag in ("enable-auto-tool-choice", "enable-prompt-tokens-details", "disable-uvicorn-access-log"):
    parser.add_argument(f"--{flag}", action="store_true")
asked = parser.parse_args()
command = [sys.executable, "-m", "ops", "standin", "--host", asked.host, "--port", asked.port]
command += ["--model", asked.served_model_name, "--max-model-len", asked.max_model_len]
command += ["--max-num-seqs", asked.max_num_seqs, "--max-queued", asked.max_num_queued_reqs]
command += ["--api-key", os.environ["VLLM_API_KEY"]]
os.chdir("/srv")
os.execv(command[0], command)
