"""What ``imgdedup`` does besides the job: a command a module, each with ``run(arguments, session)``, which
returns the exit status."""
