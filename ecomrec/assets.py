"""Names of the Airflow assets: the contract between DAGs. Partition key = the day, YYYY-MM-DD."""

CATALOG = "catalog"
EVENTS = "events"
CHAMPION = "champion"
RECOMMENDATIONS = "recommendations"
