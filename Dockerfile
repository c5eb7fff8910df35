# The live server on a CPU: docker compose up, then http://127.0.0.1:8000
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends flite espeak-ng && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY live live
COPY checkpoints/ditto_lite checkpoints/ditto_lite
RUN pip install --no-cache-dir -e '.[serve]'
COPY . .
RUN useradd --create-home avatar && mkdir -p /data && chown avatar /data
USER avatar
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
CMD ["python", "scripts/serve.py", "--host", "0.0.0.0", "--port", "8000", "--state", "/data"]
