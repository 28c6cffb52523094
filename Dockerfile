# One image for every service of docker-compose.yml: Airflow's parts and both kinds of worker.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    AIRFLOW_HOME=/home/ecomrec/airflow AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False ECOMREC_HOME=/home/ecomrec/data

# What a shop does is told to nobody.
ENV AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false

# A thread of OpenMP that waits must not hold a core that another task's would use (decision 54).
ENV GOMP_SPINCOUNT=1000

# libgomp: torch, faiss and ONNX Runtime. tini: signals and orphans.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 tini && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ecomrec && mkdir -p /home/ecomrec/airflow /home/ecomrec/data \
    && chown -R ecomrec /home/ecomrec

WORKDIR /app
# torch first and alone: its NVIDIA wheels come with it and are not in requirements.txt. A layer of its own, as it is large.
COPY requirements.txt ./
RUN pip install "$(grep -E '^torch==' requirements.txt)"
RUN pip install -r requirements.txt

COPY . .
# Editable, so that ecomrec finds sql/ beside itself.
RUN pip install --no-deps -e .

USER ecomrec
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
