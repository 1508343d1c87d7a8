"""`python -m ops VERB`: everything an operator does from a shell. Each verb is a module of its own."""

import gc
import importlib
import keyword

import click

VERBS = {
    "audit": ("ops.commands.audit", "Verify or export the record of who changed what."),
    "backup": ("ops.commands.backup", "Take a snapshot of the state, or keep taking them."),
    "backups": ("ops.commands.backups", "List the snapshots."),
    "bundle": ("ops.commands.bundle", "Pack the appliance for a host without internet."),
    "config": ("ops.commands.config", "Show every setting, secrets hidden."),
    "dev": ("ops.commands.dev", "Run the API with a model stand-in, for development."),
    "down": ("ops.commands.down", "Stop the appliance; what it keeps stays."),
    "export": ("ops.commands.export", "Take out what a project holds, one thread, or all, as JSON Lines."),
    "health": ("ops.commands.health", "Ask a running API how it is."),
    "import": ("ops.commands.import_", "Bring in what was exported, from OpenAI or from here."),
    "keys": ("ops.commands.keys", "Make, change and revoke API keys."),
    "load": ("ops.commands.load", "Unpack what `bundle` packed, on the host without internet."),
    "logs": ("ops.commands.logs", "Show what the appliance's services logged."),
    "migrate": ("ops.commands.migrate", "Bring the database's schema up to date."),
    "model": ("ops.commands.model", "Fetch the model's weights, or verify them."),
    "projects": ("ops.commands.projects", "Make, change and archive projects."),
    "restore": ("ops.commands.restore", "Put a snapshot back, or look at one beside the state."),
    "revision": ("ops.commands.revision", "Write a migration from what changed in app/db/tables.py."),
    "serve": ("ops.commands.serve", "Run the API, configured by the environment."),
    "standin": ("ops.standin.cli", "Run the development model stand-in alone."),
    "status": ("ops.commands.status", "Show the appliance's services and whether it is ready."),
    "up": ("ops.commands.up", "Start the appliance and wait until it is ready."),
    "upgrade": ("ops.commands.upgrade", "Replace the running appliance by this version, or go back."),
    "verify": ("ops.commands.verify", "Prove a snapshot: restore it into scratch and read it through an API."),
}


class Verbs(click.Group):
    """Imports a verb's module only when it is asked for: the stand-in must not load the API."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every verb."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in VERBS:
            return None
        gc.disable()  # what is imported stays: to look through it for garbage took a quarter of the start
        try:
            module = importlib.import_module(VERBS[cmd_name][0])
        finally:
            gc.freeze()
            gc.enable()
        command = getattr(module, cmd_name + "_" * keyword.iskeyword(cmd_name))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(VERBS.items())])


@click.command(cls=Verbs)
def main() -> None:
    """Operate the Sovereign Assistant API."""


if __name__ == "__main__":
    main(prog_name="python -m ops")
