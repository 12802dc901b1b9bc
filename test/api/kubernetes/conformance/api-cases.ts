/** API cases: requests over a TLS socket to the surface, with a stand-in for kube-apiserver behind it. */
import { stringify } from 'yaml';
import {
  type CertificateAuthority,
  createAuthority,
  issueCertificate,
} from '../../../../src/api/kubernetes/certificate.ts';
import type { ApiServer } from '../../../../src/api/kubernetes/cluster/client.ts';
import { type OpenKubernetes, openKubernetes } from '../../../../src/api/kubernetes/server.ts';
import { parseAdapterFile } from '../../../../src/config/adapter-file.ts';
import { seriesIndex } from '../../../../src/tsdb/series-index.ts';
import {
  type ClientCertificate,
  type HttpsReply,
  type HttpsRequest,
  httpsClient,
} from '../../../support/https-client.ts';
import { ScalingStack, START_MS } from '../../../support/scaling-stack.ts';
import { type AccessSpec, StandInApiServer } from '../../../support/stand-in-api-server.ts';
import { mismatch } from './match.ts';
import { type CaseResult, runCase } from './result.ts';

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number | string;
}

interface Fixture {
  readonly series: readonly Series[];
  readonly objects: Objects | string;
  readonly config: object | string;
}

interface Objects {
  readonly namespaces: readonly string[];
  readonly nodes: readonly string[];
  readonly pods: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Record<string, string>;
  }[];
  readonly deployments: readonly { readonly namespace: string; readonly name: string }[];
}

interface Identity {
  readonly tls: string | null | { readonly ca: string; readonly cn: string; readonly o?: readonly string[] };
  readonly headers: Readonly<Record<string, string | string[]>>;
}

interface AccessRule {
  readonly user?: string;
  readonly group?: string;
  readonly nonResource?: boolean;
  readonly allowed: boolean;
}

interface Kube {
  readonly configMap: Readonly<Record<string, string | readonly string[]>>;
  readonly tls: Readonly<Record<string, { readonly ca: string; readonly cn: string }>>;
  readonly tokenReview: Readonly<Record<string, object>>;
  readonly subjectAccessReview: readonly AccessRule[];
}

interface Request {
  readonly method?: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
}

interface Expect {
  readonly status: number | readonly number[];
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly bodyMatch?: unknown;
  readonly bodyNot?: readonly string[];
  readonly bodyContains?: readonly string[];
  readonly ifStatus?: Readonly<Record<string, Omit<Expect, 'status'>>>;
  readonly within_ms?: number;
  readonly calls?: Calls;
}

interface Calls {
  readonly subjectAccessReviews?: number;
  readonly tokenReviews?: number;
  readonly subjectAccessReviewsFor?: Readonly<Record<string, number>>;
  readonly lastSubjectAccessReview?: unknown;
}

interface Given {
  readonly fixture: string;
  readonly identity: string;
  readonly capture?: Readonly<Record<string, { readonly request: Request; readonly header: string }>>;
  readonly afterCapture?: { readonly addSeries: readonly Series[] };
  readonly advanceSeconds?: number;
  readonly policy?: { readonly allowNegative?: boolean };
  readonly rules?: object;
  readonly reload?: { readonly yaml: string };
  readonly reviews?: { readonly subjectAccessReview?: string; readonly tokenReview?: string };
  readonly repeat?: number;
  readonly secondsBetween?: number;
  readonly state?: string;
}

export interface ApiFile {
  readonly fixtures: Readonly<Record<string, Fixture>>;
  readonly identities: Readonly<Record<string, Identity>>;
  readonly kube: Kube;
  readonly cases: readonly {
    readonly id: string;
    readonly given: Given;
    readonly request: Request;
    readonly expect: Expect;
  }[];
}

export async function runApiCases(file: ApiFile): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const one of file.cases) results.push(await runCase(one.id, () => runApiCase(file, one)));
  return results;
}

async function runApiCase(file: ApiFile, { given, request, expect }: ApiFile['cases'][number]): Promise<string | null> {
  const bench = await Bench.open(file, given);
  try {
    const captured: Record<string, string> = {};
    for (const [name, one] of Object.entries(given.capture ?? {})) {
      captured[name] = String((await bench.send(one.request)).headers[one.header]);
    }
    bench.change(given);
    const filled = JSON.parse(fillIn(JSON.stringify(request), captured)) as Request;
    const beganMs = performance.now();
    let reply = await bench.send(filled);
    const tookMs = performance.now() - beganMs;
    for (let i = 1; i < (given.repeat ?? 1); i++) {
      bench.stack.clock.advance((given.secondsBetween ?? 0) * 1000);
      reply = await bench.send(filled);
    }
    const wanted = JSON.parse(fillIn(JSON.stringify(expect), captured)) as Expect;
    if (tookMs > (wanted.within_ms ?? Infinity)) return `took ${tookMs} ms`;
    return judge(wanted, reply) ?? judgeCalls(wanted.calls ?? {}, bench.api);
  } finally {
    await bench.close();
  }
}

/** `text` is JSON, so what is filled in has to be escaped. */
function fillIn(text: string, captured: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)\}/g, (all, name: string) => {
    const value = captured[name];
    return value === undefined ? all : JSON.stringify(value).slice(1, -1);
  });
}

function judge(expect: Expect, reply: HttpsReply): string | null {
  const statuses = [expect.status].flat();
  if (!statuses.includes(reply.status)) return `status ${reply.status}, want ${statuses}: ${reply.text}`;
  return judgeParts(expect, reply) ?? judgeParts(expect.ifStatus?.[reply.status] ?? {}, reply);
}

function judgeParts(expect: Omit<Expect, 'status'>, reply: HttpsReply): string | null {
  const { headers = {}, body, bodyMatch, bodyNot = [], bodyContains = [] } = expect;
  const fault = mismatch(headers, reply.headers, 'headers');
  if (fault !== null) return fault;
  if (body !== undefined) return mismatch(body, reply.text, 'body');
  if (bodyMatch !== undefined) {
    const found = mismatch(bodyMatch, JSON.parse(reply.text), 'body');
    if (found !== null) return found;
  }
  for (const text of bodyNot) if (reply.text.includes(text)) return `the body holds ${text}: ${reply.text}`;
  for (const text of bodyContains) if (!reply.text.includes(text)) return `the body lacks ${text}: ${reply.text}`;
  return null;
}

function judgeCalls(calls: Calls, { accessReviews, tokenReviews }: StandInApiServer): string | null {
  const { subjectAccessReviews: count, subjectAccessReviewsFor: byUser = {}, lastSubjectAccessReview: last } = calls;
  if (count !== undefined && accessReviews.length !== count) return `${accessReviews.length} reviews, want ${count}`;
  if (calls.tokenReviews !== undefined && tokenReviews.length !== calls.tokenReviews) {
    return `${tokenReviews.length} token reviews, want ${calls.tokenReviews}`;
  }
  for (const [user, want] of Object.entries(byUser)) {
    const got = accessReviews.filter((spec) => spec.user === user).length;
    if (got !== want) return `${got} reviews for ${user}, want ${want}`;
  }
  const newest = accessReviews.at(-1);
  if (last === undefined || (newest === undefined && count === undefined)) return null;
  return mismatch(last, newest, 'review');
}

/** The surface, its data and everything around it. */
class Bench {
  readonly stack = new ScalingStack();
  readonly api: StandInApiServer;
  readonly #authorities: Readonly<Record<string, CertificateAuthority>>;
  readonly #file: ApiFile;
  readonly #given: Given;
  #server: OpenKubernetes | null = null;
  #yaml: string;

  static async open(file: ApiFile, given: Given): Promise<Bench> {
    const bench = new Bench(file, given);
    const apiServer = await bench.api.open();
    try {
      await bench.#serve(apiServer);
    } catch (error) {
      await bench.api.close();
      throw error;
    }
    return bench;
  }

  constructor(file: ApiFile, given: Given) {
    this.#file = file;
    this.#given = given;
    const nowMs = this.stack.clock.nowMs();
    this.#authorities = { 'front-proxy-ca': createAuthority(nowMs), 'client-ca': createAuthority(nowMs) };
    this.#yaml = stringify(given.rules ?? resolved(file, given.fixture, 'config'));
    this.api = new StandInApiServer({
      allows: (spec) => ({ allowed: accessRule(file.kube.subjectAccessReview, spec) }),
      token: (token) => file.kube.tokenReview[token] ?? file.kube.tokenReview['*']!,
    });
    this.api.isUnreachable = given.reviews?.subjectAccessReview === 'unreachable';
    this.#fillApi(resolved(file, given.fixture, 'objects') as Objects);
    for (const series of file.fixtures[given.fixture]!.series) this.#put(series);
  }

  async #serve(apiServer: ApiServer): Promise<void> {
    const { readings, engine, clock, logger, registry, head } = this.stack;
    this.#server = await openKubernetes({
      listen: { host: '127.0.0.1', port: 0 },
      allowUnauthenticated: false,
      identity: { kind: 'delegated' },
      apiServer,
      certificate: null,
      externalMetrics: [],
      adapter: { text: () => this.#yaml, parse: parseAdapterFile },
      index: seriesIndex(head),
      allowsNegative: this.#given.policy?.allowNegative ?? false,
      readings,
      engine,
      clock,
      logger,
      registry,
      isReady: () => true,
      reviewRetries: { tries: 2, firstPauseMs: 5, random: () => 0 },
    });
  }

  async send({ method = 'GET', path, headers }: Request): Promise<HttpsReply> {
    const identity = this.#file.identities[this.#given.identity]!;
    const client = httpsClient(this.#server!.address, this.#server!.caPem!, this.#certificateOf(identity));
    const request: HttpsRequest = { method, path, headers: { ...identity.headers, ...headers } };
    return client(request);
  }

  /** What a case changes after its start. */
  change({ afterCapture, advanceSeconds = 0, reload }: Given): void {
    for (const series of afterCapture?.addSeries ?? []) this.#put(series);
    this.stack.clock.advance(advanceSeconds * 1000);
    if (reload === undefined) return;
    this.#yaml = reload.yaml;
    this.#server!.reload();
  }

  async close(): Promise<void> {
    await this.#server?.close();
    await this.api.close();
  }

  /** A gauge with one sample every 15 s during the last 5 minutes. */
  #put({ name, labels, value }: Series): void {
    for (let at = START_MS - 300_000; at <= START_MS; at += 15_000) {
      this.stack.put({ __name__: name, ...labels }, numberOf(value), at);
    }
  }

  #certificateOf({ tls }: Identity): ClientCertificate | null {
    if (tls === null) return null;
    const subject = typeof tls === 'string' ? this.#file.kube.tls[tls]! : tls;
    const organizations = 'o' in subject ? (subject.o as readonly string[]) : [];
    const nowMs = this.stack.clock.nowMs();
    return issueCertificate(this.#authorities[subject.ca]!, {
      commonName: subject.cn,
      organizations,
      usage: 'client',
      nowMs,
    });
  }

  #fillApi({ namespaces, nodes, pods, deployments }: Objects): void {
    for (const name of namespaces) this.api.put('/api/v1/namespaces', { metadata: { name } });
    for (const name of nodes) this.api.put('/api/v1/nodes', { metadata: { name } });
    for (const metadata of pods) this.api.put('/api/v1/pods', { metadata });
    for (const metadata of deployments) this.api.put('/apis/apps/v1/deployments', { metadata });
    const data = Object.fromEntries(
      Object.entries(this.#file.kube.configMap).map(([key, value]) => [key, this.#configMapValue(value)]),
    );
    const metadata = { name: 'extension-apiserver-authentication', namespace: 'kube-system' };
    this.api.put('/api/v1/configmaps', { metadata, data });
  }

  #configMapValue(value: string | readonly string[]): string {
    if (typeof value !== 'string') return JSON.stringify(value);
    return this.#authorities[value.replace(/[<>]/g, '')]!.certPem;
  }
}

function resolved(file: ApiFile, fixture: string, key: 'objects' | 'config'): object {
  const value = file.fixtures[fixture]![key];
  return typeof value === 'string' ? resolved(file, value.replace(/^as in /, ''), key) : value;
}

function accessRule(rules: readonly AccessRule[], { user, groups = [], nonResourceAttributes }: AccessSpec): boolean {
  const fits = (rule: AccessRule): boolean =>
    (rule.user === undefined || rule.user === user) &&
    (rule.group === undefined || groups.includes(rule.group)) &&
    (rule.nonResource !== true || nonResourceAttributes !== undefined);
  return rules.find(fits)!.allowed;
}

function numberOf(value: number | string): number {
  if (typeof value === 'number') return value;
  return value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value);
}
