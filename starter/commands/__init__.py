"""The commands of the CLI, a module per noun. They import what is heavy when they run."""
