/**
 * `tidegauge import`: reads ScaledObjects, HPAs and adapter files as a cluster has them, and says of each what works as it
 * is and which lines change. Nothing is written anywhere; with `--against` both sides are asked and shown side by side.
 */
import { parseTarget, parseTrigger } from '../api/keda/trigger.ts';
import { CodedError } from '../model/errors.ts';
import { adapterFindings } from './adapter.ts';
import { type Call, optionOf } from './cli.ts';
import { readExpression } from './expressions.ts';
import { documentsOf, itemsAt, type Manifest, nodeAt, pairsAt, textAt } from './manifests.ts';
import { type Source, webSource } from './source.ts';
import { short } from './table.ts';

const ADDRESS_DEFAULT = 'tidegauge.monitoring.svc';

interface Verdict {
  readonly at: string;
  readonly what: string;
  /** Empty if it works as it is. */
  readonly changes: readonly string[];
  readonly fault: string;
  /** What can be asked of both sides. */
  readonly question: Question | null;
}

interface Question {
  readonly query: string;
  /** Kedify's own query form, with what it does over time. */
  readonly operation: string | null;
}

export async function importFiles({ words, options, io, source }: Call): Promise<number> {
  if (words.length === 0)
    throw new CodedError('bad_config', 'want some files: kubectl get scaledobjects -A -o yaml | tidegauge import -');
  const address = optionOf(options, 'address', ADDRESS_DEFAULT);
  const verdicts = words.flatMap((path) =>
    documentsOf(path, io.readFile(path)).flatMap((manifest) => verdictsOf(manifest, address)),
  );
  for (const { at, what, changes, fault, question } of verdicts) {
    const short =
      fault !== '' ? `does not work: ${fault}` : changes.length === 0 ? 'works as is' : 'works with these lines:';
    io.write(`${at}: ${what}: ${short}\n${changes.map((line) => `    ${line}\n`).join('')}`);
    if (typeof options.against === 'string' && question !== null) {
      io.write(`    old ${await answerOf(question, options.against)}\n    new ${await newAnswer(question, source)}\n`);
    }
  }
  if (verdicts.length === 0)
    io.write('nothing to import: no ScaledObject, HorizontalPodAutoscaler or adapter rules found\n');
  return verdicts.some(({ fault }) => fault !== '') ? 1 : 0;
}

function verdictsOf(manifest: Manifest, address: string): readonly Verdict[] {
  const { kind, isAdapter, root } = manifest;
  if (isAdapter) return adapterVerdicts(manifest);
  if (kind === 'ScaledObject' || kind === 'ScaledJob') {
    return itemsAt(root, 'spec', 'triggers').map((_, i) => triggerVerdict(manifest, i, address));
  }
  if (kind === 'HorizontalPodAutoscaler')
    return itemsAt(root, 'spec', 'metrics').map((_, i) => metricVerdict(manifest, i));
  return [];
}

function adapterVerdicts(manifest: Manifest): readonly Verdict[] {
  return adapterFindings(manifest).map(({ at, isFault, text }) => ({
    at,
    what: isFault ? 'adapter rule' : `adapter rule ${text}`,
    changes: [],
    fault: isFault ? text : '',
    question: null,
  }));
}

function triggerVerdict({ root, at, kind, namespace, name }: Manifest, i: number, address: string): Verdict {
  const path = ['spec', 'triggers', i];
  const type = textAt(root, ...path, 'type');
  const metadata = pairsAt(root, ...path, 'metadata');
  const verdict = { at: at(nodeAt(root, ...path)), what: `${kind} ${namespace}/${name} trigger ${i} (${type})` };
  if (type === 'prometheus') return { ...verdict, ...prometheusTrigger(metadata, address) };
  if (type === 'external' || type === 'external-push') return { ...verdict, ...externalTrigger(metadata, address) };
  return {
    ...verdict,
    changes: [],
    fault: '',
    question: null,
    what: `${verdict.what}, which is not about metrics of ours`,
  };
}

type Judged = Pick<Verdict, 'changes' | 'fault' | 'question'>;

function prometheusTrigger(metadata: ReadonlyMap<string, string>, address: string): Judged {
  const query = metadata.get('query') ?? '';
  const wanted = `http://${address}:9090`;
  return judged(query, null, () => {
    const type = readExpression(query);
    if (type !== 'instant vector') throw new CodedError('bad_data', `KEDA reads instant vectors only, got a ${type}`);
    return metadata.get('serverAddress') === wanted ? [] : [`serverAddress: ${wanted}`];
  });
}

/** The daemon's own reading of the keys decides, so that this says what it would say. */
function externalTrigger(metadata: ReadonlyMap<string, string>, address: string): Judged {
  const wanted = `${address}:6000`;
  const kedify = metadata.get('metricQuery');
  const operation = kedify === undefined ? null : (metadata.get('operationOverTime') ?? 'last_one');
  return judged(kedify ?? metadata.get('query') ?? '', operation, () => {
    parseTarget(metadata);
    const trigger = parseTrigger(metadata);
    if (trigger.kind === 'promql') readExpression(trigger.query);
    return metadata.get('scalerAddress') === wanted ? [] : [`scalerAddress: ${wanted}`];
  });
}

function judged(query: string, operation: string | null, judge: () => readonly string[]): Judged {
  const question = query === '' ? null : { query, operation };
  try {
    return { changes: judge(), fault: '', question };
  } catch (error) {
    if (error instanceof CodedError) return { changes: [], fault: error.message, question };
    throw error;
  }
}

function metricVerdict({ root, at, namespace, name }: Manifest, i: number): Verdict {
  const path = ['spec', 'metrics', i];
  const type = textAt(root, ...path, 'type');
  const verdict = {
    at: at(nodeAt(root, ...path)),
    what: `HPA ${namespace}/${name} metric ${i} (${type})`,
    fault: '',
    question: null,
  };
  if (type !== 'External') {
    const who =
      type === 'Resource' || type === 'ContainerResource'
        ? 'metrics-server answers it'
        : 'custom.metrics.k8s.io answers it';
    return { ...verdict, changes: [], what: `${verdict.what}, ${who}` };
  }
  const metric = textAt(root, ...path, 'external', 'metric', 'name');
  return {
    ...verdict,
    changes: [
      '# in the configuration of the daemon:',
      'externalMetrics:',
      `  - name: ${metric}`,
      `    query: sum(${/^[a-zA-Z_:][\w:]*$/.test(metric) ? metric : `{${JSON.stringify(metric)}}`})`,
    ],
  };
}

/** Reads only: GET of a query API, or what Kedify's scaler takes for a question. */
async function answerOf({ query, operation }: Question, url: string): Promise<string> {
  if (operation === null) return vectorText(webSource(url), query);
  try {
    const reply = await fetch(`${url.replace(/\/+$/, '')}/memstore/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ operationOverTime: operation, query }),
    });
    const { ok, value, error } = (await reply.json()) as { ok?: boolean; value?: number; error?: string };
    return ok === true && error === '' ? short(value ?? null) : (error ?? `status ${reply.status}`);
  } catch (error) {
    return `no answer: ${(error as Error).message}`;
  }
}

/** What the daemon would tell an autoscaler. */
async function newAnswer({ query, operation }: Question, source: Source): Promise<string> {
  if (operation === null) return vectorText(source, query);
  try {
    const asked = { metricQuery: query, operationOverTime: operation };
    const { value, outcome, reason } = await source.ask<Explained>('scale/explain', asked);
    return value === null ? `${outcome}: ${reason}` : short(value);
  } catch (error) {
    return `no answer: ${(error as Error).message}`;
  }
}

interface Explained {
  readonly value: number | null;
  readonly outcome: string;
  readonly reason: string;
}

async function vectorText(source: Source, query: string): Promise<string> {
  try {
    const { result } = await source.ask<{ readonly result: readonly { readonly value?: readonly [number, string] }[] }>(
      'query',
      { query },
    );
    if (result.length === 0) return 'no series';
    return result.length === 1 ? (result[0]!.value?.[1] ?? 'a histogram') : `${result.length} series`;
  } catch (error) {
    return `no answer: ${(error as Error).message}`;
  }
}
