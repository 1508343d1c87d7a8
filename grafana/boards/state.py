"""Is what is written safe?"""

from grafana.boards.panels import Board, Panel, Query, quantile, rate, ratio

STATE = Board(
    "sovereign-state",
    "State and backups",
    "The database, its disk, its backups, and the process that keeps it.",
    [
        Panel(
            "How old is the newest backup?",
            "Since the source was last found in a snapshot.",
            "s",
            [Query("time() - sovereign_backup_last_success_timestamp_seconds", "age")],
            "stat",
            worse=(180, 600),
            width=4,
        ),
        Panel(
            "When was one last verified?",
            "Since then; a source that does not change is not verified again.",
            "s",
            [Query("time() - (sovereign_backup_last_verified_timestamp_seconds > 0)", "ago")],
            "stat",
            width=4,
        ),
        Panel(
            "How much would a dead disk cost?",
            "Seconds of work that are in no verified snapshot yet.",
            "s",
            [Query("sovereign_backup_at_risk_seconds", "at risk")],
            "stat",
            worse=(180, 600),
            width=4,
        ),
        Panel(
            "Did the last drill restore one?",
            "Whether the newest snapshot that was tried could be restored and read.",
            "short",
            [Query("sovereign_backup_drill_ok", "well")],
            "stat",
            worse=(0.5, 1),
            falling=True,
            says="yes or no",
            width=4,
        ),
        Panel(
            "How old is the last drill?",
            "Since a restore was last tried; once a day unless BACKUP_DRILL_EVERY_S says otherwise.",
            "s",
            [Query("time() - (sovereign_backup_last_drill_timestamp_seconds > 0)", "age")],
            "stat",
            worse=(129600, 172800),
            width=4,
        ),
        Panel(
            "Are snapshots damaged?",
            "Snapshots that cannot be restored any more.",
            "short",
            [Query("sovereign_backup_damaged_snapshots", "damaged")],
            "stat",
            worse=(1, 1),
            width=4,
        ),
        Panel(
            "How fast is writing?",
            "One commit, begun to on disk; those that also moved the log into the file.",
            "s",
            [
                Query(quantile(0.5, "sovereign_db_commit_seconds"), "commit p50"),
                Query(quantile(0.99, "sovereign_db_commit_seconds"), "commit p99"),
                Query(quantile(0.99, "sovereign_db_checkpoint_seconds"), "with checkpoint p99"),
            ],
        ),
        Panel(
            "How much is read and written?",
            "Transactions each second.",
            "ops",
            [Query(rate("sovereign_db_transactions_total", "kind, outcome"), "{{kind}} {{outcome}}")],
        ),
        Panel(
            "Do writes pile up?",
            "Writes that wait, and how many share a commit.",
            "short",
            [
                Query("sovereign_db_writes_waiting", "waiting"),
                Query(
                    ratio(rate("sovereign_db_batch_works_sum"), rate("sovereign_db_batch_works_count")), "in one commit"
                ),
            ],
        ),
        Panel(
            "Does somebody else hold the database?",
            "Transactions that failed because it was busy.",
            "short",
            [Query("sum(increase(sovereign_db_busy_total[$__rate_interval]))", "busy")],
            worse=(1, 1),
        ),
        Panel(
            "How large is the state?",
            "The file, and the log that is moved into it from time to time.",
            "bytes",
            [Query("sovereign_db_file_bytes", "file"), Query("sovereign_db_wal_bytes", "log")],
        ),
        Panel(
            "When is the disk full?",
            "Room left, and what will be left in a day if it goes on like the last six hours.",
            "bytes",
            [
                Query("sovereign_disk_free_bytes", "free"),
                Query("clamp_min(predict_linear(sovereign_disk_free_bytes[6h], 86400), 0)", "in a day"),
                Query("sovereign_backup_disk_free_bytes", "free for backups"),
            ],
        ),
        Panel(
            "What does a backup take?",
            "How long the newest snapshot took, and how long it made a write wait.",
            "s",
            [
                Query("sovereign_backup_duration_seconds", "snapshot"),
                Query("sovereign_backup_writer_stall_seconds", "longest write meanwhile"),
            ],
        ),
        Panel(
            "How large are the backups?",
            "All snapshots together, and what the newest added.",
            "bytes",
            [Query("sovereign_backup_store_bytes", "all"), Query("sovereign_backup_new_bytes", "newest")],
        ),
        Panel(
            "Why do backups fail?",
            "Failures each second, by cause.",
            "ops",
            [Query(rate("sovereign_backup_failures_total", "cause"), "{{cause}}")],
            "stacked",
        ),
        Panel(
            "Do the copies keep up?",
            "Snapshots that each copy lacks.",
            "short",
            [Query("sovereign_backup_copy_behind", "{{copy}}")],
            worse=(5, 20),
        ),
        Panel(
            "Does the process grow?",
            "Memory of the API.",
            "bytes",
            [Query('process_resident_memory_bytes{job="api"}', "memory")],
        ),
        Panel(
            "Is the processor busy?",
            "Cores that the API keeps at work; one is all that its event loop can use.",
            "short",
            [Query('rate(process_cpu_seconds_total{job="api"}[$__rate_interval])', "cores")],
        ),
    ],
)
