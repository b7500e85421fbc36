"""Where rows come from: a kind of source a file."""
