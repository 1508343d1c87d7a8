"""Who makes clients wait? What each layer takes, on one axis of time."""

from grafana.boards.panels import Board, Panel, Query, quantile

LATENCY = Board(
    "sovereign-latency",
    "Latency",
    "Where the time goes between a question and its answer: the lowest line that rises is the guilty layer.",
    [
        Panel(
            "Which layer makes clients wait for the first token?",
            "The API's figure holds its queue and vLLM's figure, and that one vLLM's queue. 95 of 100 are faster.",
            "s",
            [
                Query(quantile(0.95, "sovereign_first_token_seconds"), "API: first token"),
                Query(quantile(0.95, "sovereign_turn_queue_wait_seconds"), "API: queue"),
                Query(quantile(0.95, "vllm:time_to_first_token_seconds"), "vLLM: first token"),
                Query(quantile(0.95, "vllm:request_queue_time_seconds"), "vLLM: queue"),
            ],
            width=24,
        ),
        Panel(
            "Which layer makes answers stutter?",
            "Seconds between two pieces of an answer: as clients are told them, and as vLLM makes them.",
            "s",
            [
                Query(quantile(0.95, "sovereign_between_tokens_seconds"), "API p95"),
                Query(quantile(0.95, "vllm:inter_token_latency_seconds"), "vLLM p95"),
            ],
            width=24,
        ),
        Panel(
            "Which kind of answer begins late?",
            "Until the first token, for runs, responses and relayed chats.",
            "s",
            [Query(quantile(0.95, "sovereign_first_token_seconds", "surface"), "{{surface}}")],
        ),
        Panel(
            "How long do turns take?",
            "From acceptance to where the turn rests.",
            "s",
            [
                Query(quantile(0.5, "sovereign_turn_duration_seconds", "surface"), "{{surface}} p50"),
                Query(quantile(0.95, "sovereign_turn_duration_seconds", "surface"), "{{surface}} p95"),
            ],
        ),
        Panel(
            "Which routes are slow?",
            "95 of 100 answers are faster; streams are left out, since they last as long as they are read.",
            "s",
            [Query(quantile(0.95, "sovereign_http_request_duration_seconds", "route", 'stream="no"'), "{{route}}")],
        ),
        Panel(
            "Is the API itself late?",
            "How late its event loop is, and what its commits take.",
            "s",
            [
                Query(quantile(0.99, "sovereign_event_loop_lag_seconds"), "event loop p99"),
                Query(quantile(0.99, "sovereign_db_commit_seconds"), "commit p99"),
            ],
        ),
        Panel(
            "Is the budget of errors being spent?",
            "Share of requests answered with 5xx, over windows of the alerts ErrorBudgetFast and ErrorBudgetSlow.",
            "percentunit",
            [
                Query("sovereign:errors:ratio_rate5m", "5 minutes"),
                Query("sovereign:errors:ratio_rate1h", "1 hour"),
                Query("sovereign:errors:ratio_rate6h", "6 hours"),
            ],
            worse=(0.02, 0.05),
        ),
        Panel(
            "What does vLLM do with its time?",
            "Reading prompts, and writing answers, for each request.",
            "s",
            [
                Query(quantile(0.95, "vllm:request_prefill_time_seconds"), "prefill p95"),
                Query(quantile(0.95, "vllm:request_decode_time_seconds"), "decode p95"),
            ],
        ),
    ],
)
