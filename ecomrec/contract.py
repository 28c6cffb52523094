"""The contract with the shop, once: what an event and a product are (docs/data-contract.md explains it to people)."""

EVENT_TYPES = ("search", "impression", "click", "cart", "purchase", "remove")

EVENT_FIELDS = {  # name -> DuckDB type; what else a row has goes to `context`
    "event_id": "VARCHAR", "event_time": "VARCHAR", "user_id": "VARCHAR", "session_id": "VARCHAR", "event_type": "VARCHAR", "item_id": "VARCHAR",
    "query": "VARCHAR", "position": "VARCHAR", "price": "VARCHAR", "quantity": "VARCHAR", "context": "JSON",
}
ITEM_FIELDS = {
    "item_id": "VARCHAR", "title": "VARCHAR", "description": "VARCHAR", "category": "VARCHAR", "brand": "VARCHAR", "price": "VARCHAR",
    "currency": "VARCHAR", "image_url": "VARCHAR", "attributes": "JSON", "in_stock": "VARCHAR", "updated_at": "VARCHAR", "deleted": "VARCHAR",
}

NEEDS_ITEM = ("click", "cart", "purchase", "remove", "impression")  # event types that mean nothing without an item
NEEDS_QUERY = ("search",)
