"""What does the card do, and what fills its memory?"""

from grafana.boards.panels import Board, Panel, Query, quantile, rate, ratio

MIB = 1048576

GPU = Board(
    "sovereign-gpu",
    "GPU and VRAM",
    "The card and the engine on it: its memory, its cache, its heat.",
    [
        Panel(
            "Where does the VRAM go?",
            "Used and reserved grow from below; the line is what vLLM was given (VRAM_SHARE).",
            "bytes",
            [
                Query(f"DCGM_FI_DEV_FB_USED * {MIB}", "GPU {{gpu}} used"),
                Query(f"DCGM_FI_DEV_FB_FREE * {MIB}", "GPU {{gpu}} free"),
                Query(f"DCGM_FI_DEV_FB_RESERVED * {MIB}", "GPU {{gpu}} reserved"),
                Query("gpu:vram_bytes * scalar(gpu:vram_share_configured)", "GPU {{gpu}} configured share"),
            ],
            width=16,
        ),
        Panel(
            "How much of the VRAM is used?",
            "A fall means that the engine died, a rise that somebody else is on the card.",
            "percentunit",
            [Query("gpu:vram_share", "GPU {{gpu}}"), Query("gpu:vram_share_configured", "configured")],
            width=8,
        ),
        Panel(
            "Is the KV cache full?",
            "Full, requests are put back: lower ENGINE_SEQUENCES or ENGINE_CONTEXT.",
            "percentunit",
            [Query("vllm:kv_cache_usage_perc", "used")],
            worse=(0.8, 0.95),
        ),
        Panel(
            "Does vLLM put requests back?",
            "Preemptions each second, for want of KV cache.",
            "ops",
            [Query(rate("vllm:num_preemptions_total"), "preemptions")],
        ),
        Panel(
            "What runs and waits in vLLM?",
            "Requests in its batch and in its own queue.",
            "short",
            [Query("vllm:num_requests_running", "running"), Query("vllm:num_requests_waiting", "waiting")],
        ),
        Panel(
            "How fast does it read and write?",
            "Tokens each second.",
            "short",
            [
                Query(rate("vllm:prompt_tokens_total"), "prompts"),
                Query(rate("vllm:generation_tokens_total"), "answers"),
            ],
        ),
        Panel(
            "Are prompts found in the cache?",
            "Share of prompt tokens that were there from an earlier request.",
            "percentunit",
            [Query(ratio(rate("vllm:prefix_cache_hits_total"), rate("vllm:prefix_cache_queries_total")), "hits")],
        ),
        Panel(
            "How long do requests wait inside vLLM?",
            "In its own queue; 95 of 100 wait less.",
            "s",
            [Query(quantile(0.95, "vllm:request_queue_time_seconds"), "p95")],
        ),
        Panel(
            "Is it too hot?",
            "Temperature of the chip.",
            "celsius",
            [Query("DCGM_FI_DEV_GPU_TEMP", "GPU {{gpu}}")],
            worse=(80, 85),
            width=6,
        ),
        Panel(
            "How much power does it draw?",
            "At this moment.",
            "watt",
            [Query("DCGM_FI_DEV_POWER_USAGE", "GPU {{gpu}}")],
            width=6,
        ),
        Panel(
            "Is the card at work?",
            "Share of time.",
            "percentunit",
            [Query("DCGM_FI_DEV_GPU_UTIL / 100", "GPU {{gpu}}")],
            width=6,
        ),
        Panel(
            "Did the driver report an error?",
            "Number of the newest XID, 0 for none: docs/operate.md says which are grave.",
            "short",
            [Query("DCGM_FI_DEV_XID_ERRORS", "GPU {{gpu}}")],
            worse=(1, 1),
            width=6,
        ),
    ],
)
