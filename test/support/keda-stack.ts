/** The daemon's floors around KEDA on real sockets, with a clock and timers of the test's own: OTLP in, gRPC and HTTP out. */
import type { FastifyInstance } from 'fastify';
import { buildHttp, listenHttp } from '../../src/api/http.ts';
import { registerMemstore } from '../../src/api/keda/memstore.ts';
import { type KedaOptions, type KedaPort, openKeda } from '../../src/api/keda/server.ts';
import { registerPrometheus } from '../../src/api/prometheus/prometheus.ts';
import { registerOtlpHttp } from '../../src/api/push/push.ts';
import { registerScale } from '../../src/api/scale/scale.ts';
import { defaultExemplars, Writer } from '../../src/ingest/write.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { KedifyReadings, type KedifySettings } from '../../src/scaling/kedify/kedify-readings.ts';
import { namesByRules, type OriginalNames } from '../../src/scaling/kedify/original-names.ts';
import { namesAsSent } from '../../src/scaling/kedify/sent-names.ts';
import type { ReadingsOptions } from '../../src/scaling/reading.ts';
import { Subscriptions } from '../../src/scaling/subscriptions.ts';
import { Metadata } from '../../src/tsdb/metadata.ts';
import { ScalingStack } from './scaling-stack.ts';
import { ManualTimers } from './timers.ts';

export interface KedaStackOptions extends Partial<ReadingsOptions> {
  readonly kedify?: Partial<KedifySettings>;
  readonly keda?: Partial<KedaOptions>;
}

export class KedaStack extends ScalingStack {
  readonly timers = new ManualTimers(this.clock);
  readonly names: OriginalNames;
  readonly kedify: KedifyReadings;
  readonly subscriptions: Subscriptions;
  readonly writer: Writer;
  readonly #options: KedaStackOptions;
  readonly #apps: FastifyInstance[] = [];
  #port: KedaPort | null = null;

  constructor(options: KedaStackOptions = {}) {
    super(options);
    this.#options = options;
    const { head, clock, registry, recorder, timers } = this;
    this.subscriptions = new Subscriptions({ head, clock, timers, registry });
    this.writer = new Writer({ head, clock, registry, onStored: () => this.subscriptions.wake() });
    this.names = namesAsSent(
      this.writer.otlpOriginals,
      namesByRules((name) => head.hasMetric(name)),
    );
    const { names } = this;
    const uptimeMs = options.uptimeMs ?? 3_600_000;
    this.kedify = new KedifyReadings({
      head,
      names,
      clock,
      registry,
      recorder,
      uptimeMs,
      settings: options.kedify ?? {},
    });
  }

  /** KEDA's port. */
  async openKeda(): Promise<KedaPort> {
    const { readings, kedify, subscriptions, engine, names, registry, logger } = this;
    const push = { subscriptions, engine, names };
    const listen = { host: '127.0.0.1', port: 0 };
    this.#port = await openKeda({ listen, readings, kedify, push, registry, logger, ...this.#options.keda });
    return this.#port;
  }

  /** `host:port` of OTLP over HTTP. */
  openOtlp(): Promise<string> {
    const { writer, logger } = this;
    return this.#open((app) => registerOtlpHttp(app, { writer, logger }));
  }

  /** `host:port` of the query API, the scale API and Kedify's paths. */
  openWeb(): Promise<string> {
    const { engine, head, clock, kedify, names, readings, recorder } = this;
    return this.#open((app) => {
      registerScale(app, { readings, recorder, head, kedify });
      registerMemstore(app, { head, names, clock, kedify, info: () => ({ version: '0.0.0' }) });
      registerPrometheus(app, {
        engine,
        head,
        clock,
        isReady: () => true,
        exemplars: defaultExemplars(LIMITS.exemplarsMax),
        metadata: new Metadata(),
        version: '0.0.0',
        flags: {},
        queryTimeoutMs: 120_000,
        lookbackMs: 300_000,
        retentionMs: 7_200_000,
        startTimeMs: clock.nowMs(),
      });
    });
  }

  async close(): Promise<void> {
    await this.#port?.close();
    for (const app of this.#apps) await app.close();
  }

  async #open(register: (app: FastifyInstance) => void): Promise<string> {
    const app = buildHttp({ logger: this.logger });
    this.#apps.push(app);
    register(app);
    return listenHttp(app, { host: '127.0.0.1', port: 0 });
  }
}
