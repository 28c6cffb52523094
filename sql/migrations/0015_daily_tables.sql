-- What ecomrec makes of a day's events, each day from that day's rows alone. Partitioned by month: a day is replaced with
-- DELETE and INSERT, so readers never wait, and old months are dropped whole.
CREATE TABLE core.bot_users (
    event_day      date    NOT NULL,
    user_id        text    NOT NULL,
    actions        integer NOT NULL,
    busiest_minute integer NOT NULL,
    active_hours   integer NOT NULL,
    reason         text    NOT NULL,
    PRIMARY KEY (event_day, user_id)
) PARTITION BY RANGE (event_day);
COMMENT ON TABLE core.bot_users IS 'Users who searched and clicked on a day as no person does; their events of that day are left out of every table below and of training';
COMMENT ON COLUMN core.bot_users.actions        IS 'Searches and clicks of the day; impressions and baskets come many at once from people too';
COMMENT ON COLUMN core.bot_users.busiest_minute IS 'Searches and clicks in the busiest minute of the day';
COMMENT ON COLUMN core.bot_users.active_hours   IS 'Hours of the day (UTC) with a search or click';
COMMENT ON COLUMN core.bot_users.reason         IS 'The first limit that was passed (settings ECOMREC_BOT_…)';

CREATE TABLE core.sessions (
    event_day   date        NOT NULL,
    user_id     text        NOT NULL,
    session_id  text        NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    events      integer     NOT NULL,
    searches    integer     NOT NULL,
    impressions integer     NOT NULL,
    clicks      integer     NOT NULL,
    carts       integer     NOT NULL,
    purchases   integer     NOT NULL,
    spend       double precision NOT NULL,
    simulated   boolean     NOT NULL,
    PRIMARY KEY (event_day, user_id, session_id, started_at)
) PARTITION BY RANGE (event_day);
CREATE INDEX sessions_user ON core.sessions USING brin (user_id) WITH (pages_per_range = 16);
COMMENT ON TABLE core.sessions IS 'Visits: what a user did on a day without 30 quiet minutes, within the shop''s session_id where there is one. A visit over the day''s edge is two';
COMMENT ON COLUMN core.sessions.session_id IS 'As the shop sent it; empty where it sent none';
COMMENT ON COLUMN core.sessions.started_at IS 'With day, user and session_id the key: an id that comes back after 30 quiet minutes is another session';
COMMENT ON COLUMN core.sessions.purchases  IS 'Lines bought, not orders';
COMMENT ON COLUMN core.sessions.spend      IS 'Sum of price x quantity of what was bought, in the shop''s currency';
COMMENT ON COLUMN core.sessions.simulated  IS 'True when none of its events really happened';

CREATE TABLE core.search_outcomes (
    event_day   date        NOT NULL,
    search_id   text        NOT NULL,
    item_id     text        NOT NULL,
    user_id     text        NOT NULL,
    session_id  text        NOT NULL,
    started_at  timestamptz NOT NULL,
    searched_at timestamptz NOT NULL,
    query       text        NOT NULL,
    seconds     double precision NOT NULL,
    clicked     boolean     NOT NULL,
    carted      boolean     NOT NULL,
    purchased   boolean     NOT NULL,
    position    integer,
    spend       double precision NOT NULL,
    simulated   boolean     NOT NULL,
    PRIMARY KEY (event_day, search_id, item_id)
) PARTITION BY RANGE (event_day);
CREATE INDEX search_outcomes_user ON core.search_outcomes USING brin (user_id) WITH (pages_per_range = 16);
COMMENT ON TABLE core.search_outcomes IS 'What people did with what a search led them to: one row per search and item. An item belongs to the search under which it was first touched in the session, for 30 minutes';
COMMENT ON COLUMN core.search_outcomes.search_id  IS 'event_id of the search';
COMMENT ON COLUMN core.search_outcomes.started_at IS 'Start of the session, part of the key of core.sessions';
COMMENT ON COLUMN core.search_outcomes.query      IS 'As typed';
COMMENT ON COLUMN core.search_outcomes.seconds    IS 'From the search to the first click, cart or purchase of the item';
COMMENT ON COLUMN core.search_outcomes.position   IS 'Place of the item in the results at the best-placed click; NULL when the shop does not send it';
COMMENT ON COLUMN core.search_outcomes.spend      IS 'What was paid for the item within those 30 minutes';
COMMENT ON COLUMN core.search_outcomes.simulated  IS 'True when the search did not really happen';

CREATE TABLE core.item_daily (
    event_day   date    NOT NULL,
    item_id     text    NOT NULL,
    impressions integer NOT NULL,
    clicks      integer NOT NULL,
    carts       integer NOT NULL,
    purchases   integer NOT NULL,
    removes     integer NOT NULL,
    units       double precision NOT NULL,
    revenue     double precision NOT NULL,
    users       integer NOT NULL,
    buyers      integer NOT NULL,
    PRIMARY KEY (event_day, item_id)
) PARTITION BY RANGE (event_day);
COMMENT ON TABLE core.item_daily IS 'What happened to an item on a day';
COMMENT ON COLUMN core.item_daily.purchases IS 'Lines bought; units is their quantity, buyers the people';
COMMENT ON COLUMN core.item_daily.users     IS 'People who clicked, put in the cart or bought it';

CREATE TABLE core.user_daily (
    event_day   date        NOT NULL,
    user_id     text        NOT NULL,
    sessions    integer     NOT NULL,
    searches    integer     NOT NULL,
    impressions integer     NOT NULL,
    clicks      integer     NOT NULL,
    carts       integer     NOT NULL,
    purchases   integer     NOT NULL,
    spend       double precision NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (event_day, user_id)
) PARTITION BY RANGE (event_day);
CREATE INDEX user_daily_user ON core.user_daily USING brin (user_id) WITH (pages_per_range = 16);
COMMENT ON TABLE core.user_daily IS 'What a user did on a day';
COMMENT ON COLUMN core.user_daily.purchases IS 'Lines bought, not orders';

CREATE VIEW analytics.bot_users AS SELECT * FROM core.bot_users;
COMMENT ON VIEW analytics.bot_users IS 'Users who were taken for robots on a day, and why; columns as in core.bot_users';
CREATE VIEW analytics.sessions AS SELECT *, extract(epoch FROM ended_at - started_at) AS seconds FROM core.sessions;
COMMENT ON VIEW analytics.sessions IS 'Visits, robots left out; filter on event_day. Columns as in core.sessions, and seconds from the first to the last event';
CREATE VIEW analytics.search_outcomes AS SELECT * FROM core.search_outcomes;
COMMENT ON VIEW analytics.search_outcomes IS 'What people clicked, put in the cart and bought after a search: one row per search and item; filter on event_day';
CREATE VIEW analytics.searches AS
    SELECT e.event_day, e.event_id AS search_id, e.event_time AS searched_at, e.user_id, e.query, o.clicked, o.carted, o.purchased, o.spend,
           coalesce(e.context ->> 'simulated' = 'true', false) AS simulated
    FROM core.events e
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE clicked) AS clicked, count(*) FILTER (WHERE carted) AS carted, count(*) FILTER (WHERE purchased) AS purchased,
               coalesce(sum(spend), 0) AS spend
        FROM core.search_outcomes o WHERE o.event_day = e.event_day AND o.search_id = e.event_id) o
    WHERE e.event_type = 'search' AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id);
COMMENT ON VIEW analytics.searches IS 'Every search of a person, with how many items it led to being clicked, carted and bought (0: it led to nothing); filter on event_day';
CREATE VIEW analytics.item_daily AS
    SELECT d.*, i.title, i.category, i.brand FROM core.item_daily d LEFT JOIN core.items i USING (item_id);
COMMENT ON VIEW analytics.item_daily IS 'What happened to an item on a day, with its title of today; columns as in core.item_daily';
CREATE VIEW analytics.user_daily AS SELECT * FROM core.user_daily;
COMMENT ON VIEW analytics.user_daily IS 'What a user did on a day; columns as in core.user_daily';
