# The image: one bundle on Node 24, without a shell, as user 65532. Nothing is written outside --storage.path, so a
# read-only root file system works. `npm run image` does the same steps where no container engine runs.
# The bases are tags; whoever wants to pin them gives their digests:
#   docker build --build-arg BASE_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot@sha256:… .
ARG BUILD_IMAGE=node:24-bookworm-slim
ARG BASE_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY scripts ./scripts
COPY src ./src
COPY web ./web
RUN npm run build && npm run sbom

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="tidegauge" \
      org.opencontainers.image.description="Metrics in, scaling answers out." \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY --from=build /build/dist/main.js /build/dist/sbom.cdx.json ./
COPY --from=build /build/dist/web ./web
COPY LICENSE ./
USER 65532:65532
# Inside a container the loopback interface reaches nobody, so whoever reaches its ports may send until --web.config.file names
# who may. The Kubernetes port stays on loopback until its callers can be authenticated, or
# --kubernetes.insecure-allow-unauthenticated says that they need not be.
ENV NODE_ENV=production \
    TIDEGAUGE_LOG_FORMAT=json \
    TIDEGAUGE_WEB_LISTEN_ADDRESS=:9090 \
    TIDEGAUGE_OTLP_GRPC_LISTEN_ADDRESS=:4317 \
    TIDEGAUGE_OTLP_HTTP_LISTEN_ADDRESS=:4318 \
    TIDEGAUGE_KEDA_LISTEN_ADDRESS=:6000 \
    TIDEGAUGE_AUTH_WAIVE=write
EXPOSE 9090 4317 4318 6000 6443
ENTRYPOINT ["/nodejs/bin/node", "/app/main.js"]
CMD ["serve"]
