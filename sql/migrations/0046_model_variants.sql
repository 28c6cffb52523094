-- What compression made of each trained model, what each variant costs and keeps, and which one went to the gates.
CREATE TABLE ops.model_variants (
    family         text NOT NULL,
    model_version  text NOT NULL,
    variant        text NOT NULL,
    technique      text NOT NULL,
    quality        double precision,
    share          double precision,
    low            double precision,
    high           double precision,
    p50_ms         double precision,
    p95_ms         double precision,
    p99_ms         double precision,
    per_s_32       double precision,
    per_s_256      double precision,
    cpu_s_per_1000 double precision,
    megabytes      double precision,
    peak_mb        double precision,
    on_front       boolean NOT NULL,
    chosen         boolean NOT NULL,
    why            text NOT NULL,
    measured_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (family, model_version, variant)
);
COMMENT ON TABLE ops.model_variants IS 'Every compressed variant of a trained model with its quality and cost, measured on the same validation units and machine; NULL figures: left out, why says for what reason';
COMMENT ON COLUMN ops.model_variants.variant IS 'torch: the trained model itself, for comparison, never served; fp32: its export';
COMMENT ON COLUMN ops.model_variants.quality IS 'The family''s metric on validation units (top-1 accuracy, NDCG@10), 0-1';
COMMENT ON COLUMN ops.model_variants.share IS 'quality over that of the trained model; low and high are its 95 % interval (paired bootstrap over units)';
COMMENT ON COLUMN ops.model_variants.p50_ms IS 'Milliseconds of one answer alone, raw text or history to answer: half are faster; p95_ms and p99_ms likewise';
COMMENT ON COLUMN ops.model_variants.per_s_32 IS 'Answers per second in batches of 32; per_s_256 in batches of 256';
COMMENT ON COLUMN ops.model_variants.cpu_s_per_1000 IS 'CPU seconds of 1,000 answers in batches of 32: stands for energy, and decides which is the cheapest';
COMMENT ON COLUMN ops.model_variants.megabytes IS 'Size on disk of all that the variant needs';
COMMENT ON COLUMN ops.model_variants.peak_mb IS 'Peak resident megabytes of a fresh process that loads it and answers a batch';
COMMENT ON COLUMN ops.model_variants.on_front IS 'No other variant is both cheaper and at least as good';
COMMENT ON COLUMN ops.model_variants.chosen IS 'This one went to the gates';
COMMENT ON COLUMN ops.model_variants.why IS 'Why it was chosen, or why not';
CREATE VIEW analytics.model_variants AS SELECT * FROM ops.model_variants;
COMMENT ON VIEW analytics.model_variants IS 'Every compressed variant of each trained model: quality, speed, size, and which one went to the gates and why';
GRANT SELECT ON analytics.model_variants TO ecomrec_analyst;
