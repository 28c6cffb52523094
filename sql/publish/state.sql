-- Held until the writer's transaction ends: nothing goes live half written.
SELECT state, users FROM ops.publications WHERE publication_id = %(publication_id)s FOR SHARE
