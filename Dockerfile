# The image: one bundle on Node 24, without a shell, as user 65532. Nothing is written outside --storage.path, so a
# read-only root file system works.
FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY scripts ./scripts
COPY src ./src
COPY web ./web
RUN npm run build

FROM gcr.io/distroless/nodejs24-debian12:nonroot
WORKDIR /app
COPY --from=build /build/dist/main.js ./main.js
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
