"""The model families: name -> (module that builds its data set, module that trains, compresses and evaluates it)."""

FAMILIES = {
    "recommender": ("ecomrec.dataset", "ecomrec.recommender"),
    "query_classifier": ("ecomrec.labels", "ecomrec.query_classifier"),
    "retriever": ("ecomrec.search.pairs", "ecomrec.retriever"),
}
