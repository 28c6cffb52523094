"""ecomrec: a shop's daily search and behaviour logs, turned into tables that the shop can trust."""

__version__ = "0.1.0"
