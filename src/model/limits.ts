/**
 * Everything that can grow has a named maximum here. Where a flag sets it, this is the flag's default.
 * docs/limits.md lists them; a test compares the two.
 */
export const LIMITS = {
  /** Bytes of a remote-write body after decompression (Prometheus' own number). */
  remoteWriteBodyBytesMax: 32 * 1024 * 1024,
  /** Bytes of an OTLP body, as sent and after decompression (recommended by the OTLP specification). */
  otlpBodyBytesMax: 64 * 1024 * 1024,
  /** Bytes of a body of Prometheus text or OpenMetrics, as sent and after decompression. */
  importBodyBytesMax: 32 * 1024 * 1024,
  /** Bytes of an OTLP body as JSON: what it becomes in memory is many times as large. */
  otlpJsonBodyBytesMax: 16 * 1024 * 1024,
  /** Bytes of what a target answers to a scrape, as sent and after decompression, and of all that are being received. */
  scrapeBodyBytesMax: 32 * 1024 * 1024,
  scrapeBytesInFlightMax: 128 * 1024 * 1024,
  /** Targets that are scraped, and those that relabelling dropped and that are shown. */
  scrapeTargetsMax: 5000,
  scrapeDroppedTargetsMax: 1000,
  /** Scrapes under way at a time: of targets that were well the last time, and of those that were not. */
  scrapesInFlightMax: 256,
  scrapesFailingInFlightMax: 64,
  /** Shortest interval and timeout of scrapes. */
  scrapeIntervalMsMin: 100,
  /** Redirects that a scrape follows, to the same address. */
  scrapeRedirectsMax: 3,
  /** Objects of the cluster (pods, endpoints, monitors) that are kept to find targets. */
  scrapeObjectsMax: 50_000,
  /** Bytes of any other request body (forms of the query API). */
  formBodyBytesMax: 1024 * 1024,
  /** Labels of one series, the metric name included. */
  labelsPerSeriesMax: 40,
  labelNameBytesMax: 256,
  labelValueBytesMax: 4096,
  /** How far the clock may be moved at once, and how long nothing is thrown away by age after it was moved further. */
  clockStepMsMax: 30_000,
  clockHoldMs: 10 * 60 * 1000,
  /** How far ahead of the daemon's clock a sample may be. */
  futureMsMax: 10 * 60 * 1000,
  /** How far behind the newest sample of its series a sample may be. */
  outOfOrderMsMax: 5 * 60 * 1000,
  /** Exemplars kept (flag `--storage.exemplars-limit`), their bytes, and characters of one's labels (OpenMetrics' number). */
  exemplarsMax: 10_000,
  exemplarBytesMax: 16 * 1024 * 1024,
  exemplarLabelCharactersMax: 128,
  /** Metric families whose type and help are kept, different descriptions of one, and characters of one. */
  metadataFamiliesMax: 10_000,
  metadataVariantsMax: 4,
  metadataTextLengthMax: 2048,
  /** Bytes of a query's text. */
  queryTextBytesMax: 16 * 1024,
  /** Nesting of a query's syntax tree. */
  queryDepthMax: 128,
  /** Points a series of a range query, not counting the first (Prometheus' own number). */
  queryPointsMax: 11_000,
  /** Samples that one query of a person may load. */
  querySamplesMax: 50_000_000,
  /** Samples that one query of an autoscaler may load. */
  scalerSamplesMax: 1_000_000,
  /** Bytes of a query's result as held in memory: its points and the text of its labels. */
  queryResultBytesMax: 64 * 1024 * 1024,
  queryTimeoutMs: 10_000,
  /** An autoscaler's caller has no deadline of its own, so every answer has this one. */
  scalerTimeoutMs: 700,
  /** Parsed and planned queries kept. */
  planCacheEntriesMax: 16_384,
  /** Compiled matchers kept. */
  matcherCacheEntriesMax: 4096,
  /** Series of large selections that are known again, all together, and ids that there is memory for; groupings kept of each such selection. */
  seriesSetIdsMax: 1_000_000,
  groupingsOfSetMax: 4,
  /** Samples looked at to say why a query of an autoscaler has no answer. */
  diagnosisSamplesMax: 100_000,
  /** Bytes of a request to the KEDA external scaler. */
  kedaRequestBytesMax: 1024 * 1024,
  /** Requests of KEDA whose meaning is kept, for each of its two questions, and the bytes of them. */
  kedaRequestCacheEntriesMax: 16_384,
  kedaRequestCacheBytesMax: 32 * 1024 * 1024,
  /** Keys of a trigger's metadata. */
  kedaMetadataKeysMax: 256,
  /** Open push streams of autoscalers, both kinds together. */
  pushStreamsMax: 20_000,
  /** Longest time between two messages of a push stream while its trigger is active. */
  pushRepeatMsMax: 30_000,
  /** Series that one reply of `/memstore/data` holds. */
  memstoreSeriesMax: 10_000,
  /** Series of `keda_otel_scaler_metric_value` and its like, and how long one stays after its last use. */
  kedifyMetricSeriesMax: 1000,
  kedifyMetricMs: 10 * 60 * 1000,
  /** Evaluations kept for others who ask the same, and for how long. */
  sharedEvaluationsMax: 10_000,
  evaluationIntervalMs: 1000,
  /** Elements of a result that is kept so. */
  sharedElementsMax: 100,
  /** Last values kept for `noData: last`. */
  lastReadingsMax: 10_000,
  /** When a source that fell silent leaves (flag `--scaling.forget-after`). */
  forgetAfterMs: 5 * 60 * 1000,
  /** How long a sender that is silent while its pod is known to run keeps a Reading an error. */
  mutePodMsMax: 60 * 60 * 1000,
  /** Bytes of the flight recorder's ring, and of who asked what. */
  decisionBytesMax: 6 * 1024 * 1024,
  decisionSubjectBytesMax: 9 * 1024 * 1024,
  /** Decisions of one page. */
  decisionsPerPageMax: 1000,
  /** Characters of the example of what was refused for a reason, and how long one is kept at least. */
  rejectExampleLengthMax: 200,
  rejectExampleMsMin: 1000,
  /** Senders that are told apart, and characters of what one calls itself. */
  sendersMax: 256,
  senderTextLengthMax: 120,
  /** Series and sources of a selector that an explanation lists. */
  explainedSeriesMax: 100,
  /** Nesting of messages and groups in a protobuf body. */
  bodyDepthMax: 64,
  /** Buckets of one OTLP histogram point, and quantiles of one summary point. */
  bucketsPerPointMax: 1024,
  /** Series whose OTLP deltas are added up, and how long one that fell silent is remembered. */
  deltaSeriesMax: 100_000,
  deltaIdleMsMax: 5 * 60 * 1000,
  /** Delta points of a series that are remembered, so that late ones are added and repeated ones are not. */
  deltaPointsRememberedMax: 16,
  /** Bytes of the wire identities by which known OTLP points are recognised. */
  otlpIdentityBytesMax: 64 * 1024 * 1024,
  /** Names of OTLP metrics, and keys of their attributes, whose original spelling is kept. */
  originalNamesMax: 20_000,
  /** Calls that a gRPC port has open, push streams included; bytes of a call's headers. */
  grpcStreamsMax: 32_768,
  grpcHeaderBytesMax: 16 * 1024,
  /** Bytes of gRPC messages that are being received, all calls together, and of replies that a client does not read. */
  grpcHeldBytesMax: 256 * 1024 * 1024,
  grpcOutputBytesMax: 1024 * 1024,
  /** What one gRPC connection may do at once, and each second: cancel calls; send frames that carry nothing. */
  grpcResetsBurst: 1000,
  grpcResetsPerSecond: 50,
  grpcIdleFramesBurst: 10_000,
  grpcIdleFramesPerSecond: 5000,
  /** Open connections of one port, and those of them from one address. */
  httpConnectionsMax: 4096,
  httpConnectionsPerAddressMax: 512,
  /** Bytes of a request's line and headers; a query in a URL may be three times as long as its text. */
  httpHeaderBytesMax: 64 * 1024,
  /** How long a client may take to send its headers, and its whole request. */
  httpHeadersTimeoutMs: 5000,
  httpRequestTimeoutMs: 30_000,
  /** How fast a body, or a gRPC message, must come on average once the time of grace is over. */
  bodyBytesPerSecondMin: 1024,
  bodyGraceMs: 5000,
  /** What storing bodies may take of one turn of the event loop, about; what is over waits, and others are heard first. */
  ingestTurnMsMax: 1,
  /** Above the 90 s after which Go's clients drop an idle connection, so that it is never us who closes under a request. */
  httpKeepAliveTimeoutMs: 95_000,
  /** Characters of a parameter in a path. */
  httpPathParameterLengthMax: 1024,
  /** Bytes of a remote-read request after decompression; queries of one; bytes of a frame of its reply, about. */
  remoteReadBodyBytesMax: 32 * 1024 * 1024,
  remoteReadQueriesMax: 100,
  remoteReadFrameBytesMax: 1024 * 1024,
  /** Samples of a remote-read reply that is not streamed. */
  remoteReadSamplesMax: 5_000_000,
  /** Browsers that follow the page's events at the same time. */
  eventStreamsMax: 64,
  /** Queries of adapter rules kept as they were filled in for a request, and bytes of them. */
  adapterQueriesMax: 20_000,
  adapterQueriesBytesMax: 16 * 1024 * 1024,
  /** Connections to the Kubernetes API server, how long it may take to answer, and bytes of what it says. */
  clusterConnectionsMax: 32,
  clusterTimeoutMs: 10_000,
  /** How long a reply of it may take to its end, a list of many objects included; a review ends with the time above. */
  clusterReplyMsMax: 60_000,
  clusterReplyBytesMax: 256 * 1024 * 1024,
  /** How long a watch may be silent before it is begun anew. */
  clusterWatchMsMax: 10 * 60_000,
  /** Objects whose names and labels are kept for label selectors, and pods that are known to run. */
  clusterObjectsMax: 200_000,
  /** Pods that are known to have ended. */
  endedPodsMax: 50_000,
  /** Before what could not be read of the API server is tried again. */
  clusterRetryMs: 30_000,
  /** Reviews of tokens and of access kept, and for how long. */
  reviewCacheEntriesMax: 8192,
  reviewCacheMs: 10_000,
  /** Watches of metrics that are served at a time, and how often each looks for a new value. */
  metricWatchesMax: 200,
  metricWatchIntervalMs: 5000,
  /** Kinds that an OpenAPI document describes. */
  openApiKindsMax: 1000,
  /** Bytes of object names in one query; more are asked for in several. */
  objectNamesBytesMax: 6 * 1024,
  /** Warnings, and infos, of one query that are sent. */
  queryAnnotationsMax: 10,
  /** Bytes of request bodies that are being received or stored over HTTP at a time. */
  ingestBytesInFlightMax: 128 * 1024 * 1024,
  /** How many times as large decompression may make a body of more bytes than are free, and bytes that may come of all at a time. */
  inflateRatioMax: 100,
  inflateFreeBytes: 1024 * 1024,
  inflateBytesMax: 128 * 1024 * 1024,
  /** Bytes of a segment of the log; a longer record has one of its own. */
  logSegmentBytes: 64 * 1024 * 1024,
  /** Bytes of bodies that wait for the log. */
  logPendingBytesMax: 64 * 1024 * 1024,
  /** How long a write of the log may take before nobody waits for it any more. */
  logStallMsMax: 5000,
  /** When a log that could not be written is tried again. */
  logRetryMs: 1000,
  /** An image is taken after so many samples, or after so long; and never sooner than that after the last. */
  imageSamplesMax: 4_000_000,
  imageIntervalMs: 5 * 60 * 1000,
  imageIntervalMsMin: 30_000,
  /** How long an image may take on its way to a replica: memory is given back only after it. */
  replicaImageMsMax: 60_000,
  /** How long a replica waits for the beginning of an answer, each time that it asks. */
  replicaAnswerMsMax: 5000,
  /** Records of the log whose replay fails that are set aside, each with a fresh start. */
  setAsideMax: 16,
} as const;
