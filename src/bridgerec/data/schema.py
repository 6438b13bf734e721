"""The data contract: standard column names and types, whatever the tables call them."""

from typing import Final

INTERACTION_REQUIRED: Final = ("user_id", "item_id")
INTERACTION_ORDER: Final = ("timestamp", "position")  # at least one of them
INTERACTION_COLUMNS: Final = ("user_id", "item_id", "timestamp", "kind", "value", "position")
ITEM_REQUIRED: Final = ("item_id", "title")
ITEM_COLUMNS: Final = (
    *("item_id", "title", "description", "category", "brand", "image", "price", "language"),
)
IDENTITY_COLUMNS: Final = ("domain", "user_id", "person_id")
TEXT_COLUMNS: Final = ("title", "description", "category", "brand")
DEFAULT_KIND: Final = "interaction"
