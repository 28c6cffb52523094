INSERT INTO ops.model_variants (family, model_version, variant, technique, quality, share, low, high, p50_ms, p95_ms, p99_ms, per_s_32, per_s_256, cpu_s_per_1000, megabytes, peak_mb,
                                on_front, chosen, why)
VALUES (%(family)s, %(model_version)s, %(name)s, %(technique)s, %(quality)s, %(share)s, %(low)s, %(high)s, %(p50_ms)s, %(p95_ms)s, %(p99_ms)s, %(per_s_32)s, %(per_s_256)s,
        %(cpu_s_per_1000)s, %(megabytes)s, %(peak_mb)s, %(on_front)s, %(chosen)s, %(why)s)
