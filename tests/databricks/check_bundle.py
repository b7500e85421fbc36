"""The bundle's jobs against Databricks' own models of them, which refuse fields that they do not know: ``make
test-databricks``.

The package ``databricks-bundles`` has them, generated from the schema that ``databricks bundle schema`` prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from databricks.bundles.jobs import Job

bundle = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))
for name, job in bundle["resources"]["jobs"].items():
    made = Job.from_dict(job)
    assert made.tasks, name
    print(f"{name}: {len(made.tasks)} task, as Databricks knows them")
    try:
        Job.from_dict({**job, "tasks": [{**job["tasks"][0], "no_such_field": 1}]})
    except ValueError:
        continue
    sys.exit("a field that does not exist is accepted: this checks nothing")
