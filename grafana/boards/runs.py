"""What becomes of what clients ask?"""

from grafana.boards.panels import Board, Panel, Query, quantile, rate, ratio

RUNS = Board(
    "sovereign-runs",
    "Runs and conversations",
    "Turns from their acceptance to their end, and the model servers that they need.",
    [
        Panel(
            "How do turns end?",
            "Turns each second, by outcome.",
            "ops",
            [Query(rate("sovereign_turns_total", "surface, outcome"), "{{surface}} {{outcome}}")],
            "stacked",
        ),
        Panel(
            "Do turns fail?",
            "Share that failed or expired.",
            "percentunit",
            [
                Query(
                    ratio(
                        rate("sovereign_turns_total", where='outcome=~"failed|expired"'), rate("sovereign_turns_total")
                    ),
                    "failed or expired",
                )
            ],
            worse=(0.02, 0.05),
        ),
        Panel(
            "Do turns wait for a slot?",
            "Turns under way and waiting, beside how many run at once at most and how many may wait.",
            "short",
            [
                Query("sovereign_turns_open - sovereign_turns_waiting", "running"),
                Query("sovereign_turns_waiting", "waiting"),
                Query("sovereign_turn_slots", "slots"),
                Query("sovereign_turn_queue_limit", "queue limit"),
            ],
        ),
        Panel(
            "How long do they wait?",
            "From acceptance to a slot.",
            "s",
            [
                Query(quantile(0.5, "sovereign_turn_queue_wait_seconds"), "p50"),
                Query(quantile(0.95, "sovereign_turn_queue_wait_seconds"), "p95"),
            ],
            worse=(10, 30),
        ),
        Panel(
            "Why do model servers fail?",
            "Failed calls each second, by kind.",
            "ops",
            [Query(rate("sovereign_upstream_failures_total", "upstream, kind"), "{{upstream}} {{kind}}")],
            "stacked",
        ),
        Panel(
            "Which model servers are up?",
            "1 while a server answers.",
            "short",
            [Query('sovereign_upstream_state{state="up"}', "{{upstream}}")],
        ),
        Panel(
            "Who is asked, and who steps in?",
            "Calls of each model server, and answers in another's place, each second.",
            "ops",
            [
                Query(rate("sovereign_upstream_calls_total", "upstream"), "{{upstream}}"),
                Query(rate("sovereign_upstream_failovers_total", "upstream"), "{{upstream}} in another's place"),
            ],
        ),
        Panel(
            "How many streams are open?",
            "Streams being sent, requests being answered, calls of model servers under way.",
            "short",
            [
                Query("sovereign_http_streams_active", "streams"),
                Query("sovereign_http_requests_in_flight", "requests"),
                Query("sum by (upstream) (sovereign_upstream_in_flight)", "calls of {{upstream}}"),
            ],
        ),
        Panel(
            "Do models call tools?",
            "Answers with calls, each second.",
            "ops",
            [Query(rate("sovereign_tool_rounds_total", "surface"), "{{surface}}")],
            width=6,
        ),
        Panel(
            "Do conversations outgrow the window?",
            "Prompts from which older messages were left out, each second.",
            "ops",
            [Query(rate("sovereign_context_truncations_total"), "shortened")],
            width=6,
        ),
        Panel(
            "Were turns taken up after a restart?",
            "Turns that a stopped server had left.",
            "short",
            [Query("sum(increase(sovereign_turn_recoveries_total[$__rate_interval]))", "taken up")],
            width=6,
        ),
        Panel(
            "Do clients not read?",
            "Clients that were cut off because they did not send or read in time.",
            "short",
            [Query("sum(increase(sovereign_http_slow_clients_total[$__rate_interval]))", "cut off")],
            width=6,
        ),
    ],
)
