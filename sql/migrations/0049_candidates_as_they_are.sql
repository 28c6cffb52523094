-- Numbers of candidates hardly compress, and trying took a third of their COPY. Partitions made from now on follow (sql/publish/create_partition.sql).
ALTER TABLE recs.user_candidates ALTER items SET STORAGE EXTERNAL, ALTER scores SET STORAGE EXTERNAL;
