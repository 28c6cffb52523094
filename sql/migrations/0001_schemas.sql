CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS staging;
CREATE SCHEMA IF NOT EXISTS core;
CREATE SCHEMA IF NOT EXISTS recs;
CREATE SCHEMA IF NOT EXISTS analytics;
COMMENT ON SCHEMA staging   IS 'One unlogged table per load; gone after it';
COMMENT ON SCHEMA core      IS 'What the shop told us, validated: events by day, the catalogue now and on any earlier day';
COMMENT ON SCHEMA recs      IS 'Published tables; every row carries its publication';
COMMENT ON SCHEMA ops       IS 'What the system did: loads, checks, gates, publications, audit';
COMMENT ON SCHEMA analytics IS 'Views for analysts. A contract: changed only by adding';

-- Roles belong to the whole server, so another database of it may have made this one already.
DO $$ BEGIN
    CREATE ROLE ecomrec_analyst NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

CREATE TABLE core.events (
    event_day  date        NOT NULL,
    event_id   text        NOT NULL,
    event_time timestamptz NOT NULL,
    user_id    text        NOT NULL,
    session_id text,
    event_type text        NOT NULL,
    item_id    text,
    query      text,
    position   integer,
    price      double precision,
    quantity   double precision,
    context    jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (event_day, event_id)
) PARTITION BY RANGE (event_day);
CREATE INDEX events_user ON core.events (user_id, event_time);
COMMENT ON TABLE core.events IS 'Validated events, one partition a day, replaced as a whole when a day is loaded again';
COMMENT ON COLUMN core.events.event_day  IS 'The UTC day of the files that the event came in';
COMMENT ON COLUMN core.events.event_type IS 'search, impression, click, cart, purchase or remove';
COMMENT ON COLUMN core.events.price      IS 'Paid or shown price of one unit, in the shop''s currency';
COMMENT ON COLUMN core.events.context    IS 'Everything else that the shop sent; "simulated": true marks events that did not really happen';

CREATE TABLE core.items (
    item_id     text PRIMARY KEY,
    title       text NOT NULL,
    description text,
    category    text NOT NULL,
    brand       text,
    price       double precision,
    currency    text,
    image_url   text,
    attributes  jsonb NOT NULL DEFAULT '{}',
    in_stock    boolean NOT NULL DEFAULT true,
    updated_at  timestamptz NOT NULL,
    deleted     boolean NOT NULL DEFAULT false,
    loaded_day  date NOT NULL
);
COMMENT ON TABLE core.items IS 'The catalogue as it is now; products are never removed, only marked deleted';
COMMENT ON COLUMN core.items.category   IS 'Path from the root, levels separated by /';
COMMENT ON COLUMN core.items.loaded_day IS 'Day of the catalogue file that said so';

CREATE TABLE core.item_history (
    item_id    text NOT NULL,
    valid_from date NOT NULL,
    valid_to   date,
    title      text NOT NULL,
    category   text NOT NULL,
    brand      text,
    price      double precision,
    in_stock   boolean NOT NULL,
    deleted    boolean NOT NULL,
    PRIMARY KEY (item_id, valid_from)
);
COMMENT ON TABLE core.item_history IS 'What the catalogue said on any day: a row holds from valid_from up to but not including valid_to (NULL: still)';
