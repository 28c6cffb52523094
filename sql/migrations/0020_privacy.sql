CREATE TABLE ops.user_key (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    fingerprint text NOT NULL,
    keys        integer NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.user_key IS 'Which key chain the stored user ids were made with, so that another key is refused instead of making two of one person';
COMMENT ON COLUMN ops.user_key.fingerprint IS 'A pseudonym of a fixed text: tells keys apart and gives none away; none: the ids are stored as they came';
COMMENT ON COLUMN ops.user_key.keys IS 'Length of the chain: 1 plus the number of rotations';

CREATE TABLE ops.erased_users (
    user_id   text PRIMARY KEY,
    asked_at  timestamptz NOT NULL DEFAULT now(),
    proved_at timestamptz
);
COMMENT ON TABLE ops.erased_users IS 'Tombstones: whose events no load, backfill, publication or training set takes in again. The only place where an erased pseudonym stays';
COMMENT ON COLUMN ops.erased_users.proved_at IS 'When the search of everything found nothing left; NULL: the erasure was cut short, run it again';
COMMENT ON COLUMN core.events.user_id IS 'Pseudonym: keyed HMAC of the shop''s id (`ecomrec pseudonym ID` gives it)';
COMMENT ON COLUMN core.events.query IS 'As typed, but for personal data: <email>, <phone>, <card>, <iban>, <id> stand where such was';
