"""Who uses it, how much, and who is refused?"""

from grafana.boards.panels import Board, Panel, Query, rate

PROJECT = 'project=~"$project"'

KEYS = Board(
    "sovereign-keys",
    "Keys and usage",
    "Tokens by model and project, requests by route, and who was refused.",
    [
        Panel(
            "Which models are used?",
            "Tokens each second, by the name that clients use.",
            "short",
            [Query(rate("sovereign_tokens_total", "model, direction", PROJECT), "{{model}} {{direction}}")],
            "stacked",
        ),
        Panel(
            "Which projects use them?",
            "Tokens each second.",
            "short",
            [Query(rate("sovereign_tokens_total", "project", PROJECT), "{{project}}")],
            "stacked",
        ),
        Panel(
            "How many tokens today?",
            "In the last 24 hours, by project.",
            "short",
            [Query(f"sum by (project) (increase(sovereign_tokens_total{{{PROJECT}}}[24h]))", "{{project}}")],
            "stat",
            width=24,
        ),
        Panel(
            "Are keys being tried?",
            "Requests each second that were refused for their key, by reason.",
            "ops",
            [Query(rate("sovereign_auth_failures_total", "reason"), "{{reason}}")],
            "stacked",
        ),
        Panel(
            "Which limits are met?",
            "Refusals each second, by the bound that had no room.",
            "ops",
            [Query(rate("sovereign_limit_refusals_total", "bound"), "{{bound}}")],
            "stacked",
        ),
        Panel(
            "What is asked for?",
            "Requests each second, by route.",
            "reqps",
            [Query(rate("sovereign_http_requests_total", "method, route"), "{{method}} {{route}}")],
            width=16,
        ),
        Panel(
            "What runs here?",
            "Version of the API and its Python.",
            "short",
            [Query("sovereign_build_info", "{{version}} on Python {{python}}")],
            "stat",
            says="names",
            width=4,
        ),
        Panel(
            "Did the clock jump?",
            "Jumps of more than two seconds in a day: limits, expiry and backups go by the clock.",
            "short",
            [Query("sum(increase(sovereign_clock_jumps_total[24h]))", "jumps")],
            "stat",
            worse=(1, 1),
            width=4,
        ),
    ],
    by_project=True,
)
