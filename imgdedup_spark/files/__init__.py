"""Files of any format on any file system, without Spark."""
