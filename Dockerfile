# The page of `siamese app`, with dlib's network:
#
#     docker build -t siamese .
#     docker run --rm -p 127.0.0.1:8000:8000 siamese
#
# It then answers at http://127.0.0.1:8000, on this machine alone. A bundle of your own:
#
#     docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/runs/latest/bundle:/bundle:ro" \
#         siamese /bundle
FROM python:3.11-slim AS build
RUN python -m venv /opt/siamese
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
# The CPU build of torch: a tenth of the size of that for GPUs.
RUN /opt/siamese/bin/pip install --no-cache-dir -c constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu '.[app,dlib-bin,pretrained]'

FROM python:3.11-slim
RUN useradd --create-home siamese
COPY --from=build /opt/siamese /opt/siamese
USER siamese
WORKDIR /home/siamese
ENV PATH=/opt/siamese/bin:$PATH
EXPOSE 8000
ENTRYPOINT ["siamese", "app", "--host", "0.0.0.0", "--port", "8000"]
