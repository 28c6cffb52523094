"""Which promotion to show to whom: the shop's promotions (`offers`), what the past says of them (`pairs`, `uplift`), and who gets what within
caps and budgets (`choose`); `build` puts it into a publication."""
