# Databricks notebook source
# MAGIC %md
# MAGIC A Delta table without its duplicates: `input_table` → `output_table`; what was dropped → `duplicates_table`.

# COMMAND ----------

from imgdedup_spark import DedupConfig, deduplicate

names = ("input_table", "output_table", "duplicates_table", "id_col", "preset", "staging")
defaults = {"preset": "strict"}
for name in names:
    dbutils.widgets.text(name, defaults.get(name, ""))
given = {name: dbutils.widgets.get(name) for name in names}

# COMMAND ----------

# Serverless compute persists nothing: what comes between is written below `staging`.
pictures = spark.table(given["input_table"])
config = DedupConfig(preset=given["preset"])
result = deduplicate(pictures, config, id_col=given["id_col"] or None, staging=given["staging"] or None)
result

# COMMAND ----------

result.gallery(12)

# COMMAND ----------

result.kept.write.mode("overwrite").saveAsTable(given["output_table"])
result.duplicates.write.mode("overwrite").saveAsTable(given["duplicates_table"])
counts = result.summary()
result.close()
print({name: counts[name] for name in ("rows_in", "rows_kept", "rows_dropped", "rows_with_errors")})
