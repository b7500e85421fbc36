"""Run by each Python process that has this folder on its path."""

import killers

killers.register()
