"""Entry point of `lateen`: finds the subcommand, runs it, turns errors into one message and an exit code.

Subcommands are imported when they are used, so that `lateen --help` and shell completion stay quick.
Exit codes are those of `lateen.base.errors`; 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

import click

from lateen.base.errors import LateenError
from lateen.cli.output import print_error

# name -> module that defines the click command of that name, and its line in `lateen --help`
COMMANDS = {
    "analyze": ("lateen.cli.analyze", "Find mistakes in the mesh, or in files."),
    "apply": ("lateen.cli.apply", "Create objects, or change them to what the files say."),
    "delete": ("lateen.cli.objects", "Delete objects by name or by file."),
    "demo": ("lateen.cli.demo", "Show two pods that talk through real Envoys with mTLS, and prove it."),
    "describe": ("lateen.cli.describe.command", "Tell what concerns a pod or a service."),
    "discovery": ("lateen.cli.components", "Run the control plane against a Kubernetes API."),
    "down": ("lateen.cli.up", "Stop the cluster; its objects stay."),
    "exec": ("lateen.cli.objects", "Run a command in a container."),
    "get": ("lateen.cli.objects", "Show objects."),
    "image": ("lateen.cli.image", "Say what an image means on this machine."),
    "kube-inject": ("lateen.cli.kube_inject", "Add the sidecar to every workload of YAML files."),
    "logs": ("lateen.cli.objects", "Print the log of a container."),
    "proxy-config": ("lateen.cli.proxy_config.command", "Show what an Envoy has (pc)."),
    "proxy-status": ("lateen.cli.proxy_status", "Show which proxies have what discovery sent them (ps)."),
    "status": ("lateen.cli.up", "Show whether a cluster runs, and its ports."),
    "up": ("lateen.cli.up", "Start a cluster with a mesh on this machine."),
}

# other names, as istioctl has them
ALIASES = {"pc": "proxy-config", "ps": "proxy-status", "des": "describe"}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[name][0])
        function = name.replace("-", "_")
        command: click.Command = getattr(module, function, None) or getattr(module, f"{function}_")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in sorted(COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lateen", message="lateen %(version)s")
def cli() -> None:
    """The Istio service mesh on this machine: the same YAML, real Envoy, no containers.

    \b
    Start here:
      lateen demo                 two pods, two sidecars, mTLS, and the proof of each
      lateen up -d                a cluster in the background
      export KUBECONFIG=...       the line that `up` prints; then use kubectl as ever
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        code = cli.main(args=argv, prog_name="lateen", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(64)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LateenError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        sys.exit(_report_bug(error))


def _report_bug(error: Exception) -> int:
    report = Path.home() / "lateen-bug.txt" if Path.home().is_dir() else Path("/tmp/lateen-bug.txt")
    try:
        report.write_text("".join(traceback.format_exception(error)))
        where = f"; the details are in {report}"
    except OSError:
        where = ""
    click.echo(f"lateen: this is a bug in Lateen: {type(error).__name__}: {error}{where}", err=True)
    return 70


if __name__ == "__main__":
    main()
