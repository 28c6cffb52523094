DELETE FROM {partition}
