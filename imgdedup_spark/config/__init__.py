"""Options: declared once, checked at the door; the command line and YAML files read into them."""
