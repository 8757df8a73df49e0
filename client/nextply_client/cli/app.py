"""The commands of ``nextply``, put together."""

import typer

from nextply_client.cli.ask import models, predict, watch
from nextply_client.cli.bulk import bench, import_
from nextply_client.cli.play import play

app = typer.Typer(
    help="Predict the next move of running games. Exit codes: 0 done, 1 refused, 2 misunderstood, 3 no service, "
    "4 no such session or model, 5 illegal move.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (predict, play, watch, bench, models):
    app.command()(command)
app.command("import")(import_)
