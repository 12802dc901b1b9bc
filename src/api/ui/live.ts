/**
 * What the page follows, as server-sent events: decisions of autoscalers, and the daemon's own metrics. One timer serves
 * all who follow, and none runs while nobody does.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { formatTime } from '../../scaling/diagnosis.ts';
import type { Decision, Recorder } from '../../scaling/recorder.ts';
import type { Registry } from '../../telemetry/registry.ts';
import { replyError } from '../http.ts';
import { type Described, described } from '../openapi.ts';

export interface LiveDeps {
  readonly recorder: Pick<Recorder, 'decisions'>;
  readonly registry: Pick<Registry, 'expose'>;
}

const TICK_MS = 1000;
/** Own metrics are told every so many ticks. */
const METRICS_TICKS = 3;
/** Decisions that are looked at for the first picture, and points of a subject in it. */
const SNAPSHOT_DECISIONS = 5000;
const SNAPSHOT_POINTS = 240;
/** Decisions of one event; at more a second, the oldest of them are only in the flight recorder. */
const EVENT_DECISIONS = 1000;
/** A client that does not read is cut off rather than kept in memory. */
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024;

type Topic = 'decisions' | 'metrics';

const EVENTS = { type: 'text/event-stream', description: 'events without an end' };
const DESCRIBED: Readonly<Record<Topic, Described>> = {
  decisions: { tag: 'scale', summary: 'Decisions as they are made, as server-sent events', reply: EVENTS },
  metrics: { tag: 'operation', summary: 'Own metrics every few seconds, as server-sent events', reply: EVENTS },
};

export function registerLive(app: FastifyInstance, deps: LiveDeps): void {
  const streams = new Streams(deps);
  const plugin = async (scope: FastifyInstance): Promise<void> => {
    scope.setErrorHandler(replyError);
    for (const topic of ['decisions', 'metrics'] as const) {
      scope.get(`/${topic}`, { schema: described(DESCRIBED[topic]) }, (_request, reply) => streams.open(topic, reply));
    }
    // Streams never end by themselves, and a server waits for what is open.
    scope.addHook('preClose', async () => streams.close());
  };
  void app.register(plugin, { prefix: '/api/v1/live' });
}

class Streams {
  readonly #deps: LiveDeps;
  readonly #open = new Map<ServerResponse, Topic>();
  #timer: NodeJS.Timeout | null = null;
  #ticks = 0;
  #nextId = 0;

  constructor(deps: LiveDeps) {
    this.#deps = deps;
  }

  open(topic: Topic, reply: FastifyReply): void {
    if (this.#open.size >= LIMITS.eventStreamsMax) {
      throw new CodedError('overloaded', `cannot follow: got ${this.#open.size} streams, want at most that many`);
    }
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Proxies in front of a cluster would hold events back.
      'x-accel-buffering': 'no',
    });
    response.once('close', () => this.#left(response));
    if (topic === 'decisions') {
      // Whoever already follows must not miss what this picture takes in.
      this.#tick('decisions');
      response.write(eventText('snapshot', this.#snapshot()));
    } else response.write(eventText('metrics', this.#metrics()));
    this.#open.set(response, topic);
    this.#timer ??= setInterval(() => this.#onTimer(), TICK_MS);
  }

  close(): void {
    for (const response of this.#open.keys()) response.end();
  }

  #left(response: ServerResponse): void {
    this.#open.delete(response);
    if (this.#open.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #onTimer(): void {
    this.#tick('decisions');
    if (this.#ticks++ % METRICS_TICKS === 0) this.#tick('metrics');
  }

  #tick(topic: Topic): void {
    const followers = [...this.#open].filter(([, followed]) => followed === topic).map(([response]) => response);
    const text =
      topic === 'decisions' ? this.#newDecisions() : followers.length > 0 ? eventText('metrics', this.#metrics()) : '';
    for (const response of followers) {
      // An empty comment tells both sides that the other one is there.
      response.write(text === '' ? ':\n\n' : text);
      if (response.writableLength > BACKLOG_BYTES_MAX) response.destroy();
    }
  }

  #newDecisions(): string {
    const found = this.#deps.recorder.decisions({ limit: EVENT_DECISIONS }).filter(({ id }) => id >= this.#nextId);
    if (found.length === 0) return '';
    this.#nextId = found[0]!.id + 1;
    return eventText(
      'decisions',
      found.reverse().map((decision) => ({ key: keyOf(decision), decision: toJson(decision) })),
    );
  }

  #snapshot(): object {
    const found = this.#deps.recorder.decisions({ limit: SNAPSHOT_DECISIONS });
    this.#nextId = Math.max(this.#nextId, (found[0]?.id ?? -1) + 1);
    const subjects = new Map<string, { key: string; last: object; points: [number, number | null][] }>();
    for (const decision of found) {
      const key = keyOf(decision);
      let subject = subjects.get(key);
      if (subject === undefined) {
        subject = { key, last: toJson(decision), points: [] };
        subjects.set(key, subject);
      }
      if (subject.points.length < SNAPSHOT_POINTS) subject.points.push([decision.timeMs / 1000, decision.value]);
    }
    for (const { points } of subjects.values()) points.reverse();
    return [...subjects.values()];
  }

  /** `[name{labels}, value]` as `/metrics` has them. */
  #metrics(): readonly (readonly [string, number])[] {
    const lines = this.#deps.registry.expose().split('\n');
    return lines.flatMap((line): [string, number][] => {
      const at = line.lastIndexOf(' ');
      return line.startsWith('#') || at < 0 ? [] : [[line.slice(0, at), Number(line.slice(at + 1))]];
    });
  }
}

function eventText(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

function keyOf({ subject: { surface, namespace, name, query } }: Decision): string {
  return `${namespace}/${name} ${surface} ${query}`;
}

/** The shape of `/api/v1/scale/decisions`, as far as the page needs it. */
function toJson(decision: Decision): object {
  const { id, subject, timeMs, newestMs, value, outcome, reason, series, sourcesExpected, sourcesSeen, latencyMs } =
    decision;
  const { surface, namespace, name, query, policy, target, activation } = subject;
  return {
    id,
    time: formatTime(timeMs),
    surface,
    namespace,
    name,
    query,
    policy,
    target,
    activation,
    outcome,
    value,
    reason,
    newest: newestMs === null ? null : formatTime(newestMs),
    ageSeconds: newestMs === null ? null : (timeMs - newestMs) / 1000,
    series,
    sourcesExpected,
    sourcesSeen,
    latencyMs,
  };
}
