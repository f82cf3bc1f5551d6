"""The `lateen` command: one module per group of subcommands, each imported only when it is used."""
