/** `status/*`, and the lists that clients ask for and that are empty here: rules, alerts. */
import { hostname } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { formatDuration } from '../../model/time.ts';
import type { KernelHead } from '../../tsdb/kernel-head.ts';
import { type Answer, plain } from './envelope.ts';
import { inParameterError, textOf } from './parameters.ts';

/** As ingest tells it (ingest/rejects.ts). */
interface Reject {
  readonly protocol: string;
  readonly what: string;
  readonly reason: string;
  readonly count: number;
  readonly example: string;
  readonly timeMs: number | null;
}

/** As ingest tells it (ingest/senders.ts). */
interface SenderReport {
  readonly firstMs: number;
  readonly lastMs: number;
}

interface Senders {
  list(): readonly SenderReport[];
  readonly forgotten: Readonly<Record<'senders' | 'requests' | 'samplesStored', number>>;
}

export interface StatusDeps {
  readonly clock: Clock;
  readonly head: Pick<KernelHead, 'walkCardinality' | 'stats'>;
  /** Version of the daemon. */
  readonly version: string;
  /** Flags without their dashes, and the texts of their values. */
  readonly flags: Readonly<Record<string, string>>;
  /** The configuration in effect, as a file would have it. Secrets are not in it. */
  readonly configYaml?: string;
  readonly retentionMs: number;
  readonly startTimeMs: number;
  /** What ingest refused; nothing, if absent. */
  readonly rejects?: () => readonly Reject[];
  /** Who sends; nobody, if absent. */
  readonly senders?: Senders;
}

/**
 * Clients switch features on by a Prometheus version, so that is what `version` says: the one whose API this is.
 * A non-empty `features` would make Grafana take us for Mimir.
 */
const PROMETHEUS_VERSION = '3.5.0';

export function answerBuildInfo(deps: StatusDeps): Answer {
  return plain(buildInfo(deps));
}

export function buildInfo({ version }: Pick<StatusDeps, 'version'>): object {
  return {
    version: PROMETHEUS_VERSION,
    revision: '',
    branch: '',
    buildUser: '',
    buildDate: '',
    goVersion: '',
    tidegaugeVersion: version,
  };
}

export function answerFlags({ flags }: StatusDeps): Answer {
  return plain(flags);
}

export function answerConfig({ configYaml = '' }: StatusDeps): Answer {
  return plain({ yaml: configYaml });
}

export function answerRuntimeInfo({ clock, retentionMs, startTimeMs }: StatusDeps): Answer {
  const startTime = new Date(startTimeMs).toISOString();
  return plain({
    startTime,
    CWD: process.cwd(),
    hostname: hostname(),
    serverTime: new Date(clock.nowMs()).toISOString(),
    reloadConfigSuccess: true,
    lastConfigTime: startTime,
    corruptionCount: 0,
    // What is Go's has no counterpart here; clients expect the keys.
    goroutineCount: 0,
    GOMAXPROCS: 1,
    GOMEMLIMIT: 0,
    GOGC: '',
    GODEBUG: '',
    storageRetention: formatDuration(retentionMs),
  });
}

/** What senders were refused, by protocol and reason with an example each, and who they are. */
export function answerIngest(deps: StatusDeps): Answer {
  const rejects = (deps.rejects?.() ?? []).map(({ timeMs, ...reject }) => ({
    ...reject,
    time: timeMs === null ? null : new Date(timeMs).toISOString(),
  }));
  const senders = (deps.senders?.list() ?? []).map(({ firstMs, lastMs, ...sender }) => ({
    ...sender,
    firstTime: new Date(firstMs).toISOString(),
    lastTime: new Date(lastMs).toISOString(),
  }));
  return plain({ senders, sendersForgotten: deps.senders?.forgotten ?? NONE_FORGOTTEN, rejects });
}

const NONE_FORGOTTEN = { senders: 0, requests: 0, samplesStored: 0 };

const CARDINALITY_LIMIT = 10;
const CARDINALITY_LIMIT_MAX = 10_000;

/** What the series are made of. A store without samples has no times: both are 0. */
export async function answerTsdb({ head }: StatusDeps, form: URLSearchParams): Promise<Answer> {
  const walk = head.walkCardinality(cardinalityLimitOf(form));
  let report = walk.slice();
  for (; report === null; report = walk.slice()) await setImmediate();
  const { minTimeMs, maxTimeMs } = head.stats();
  return plain({
    headStats: {
      numSeries: report.series,
      numLabelPairs: report.labelPairs,
      chunkCount: report.chunks,
      minTime: minTimeMs ?? 0,
      maxTime: maxTimeMs ?? 0,
    },
    seriesCountByMetricName: report.seriesByMetricName,
    labelValueCountByLabelName: report.valuesByLabelName,
    memoryInBytesByLabelName: report.bytesByLabelName,
    seriesCountByLabelValuePair: report.seriesByLabelPair,
  });
}

function cardinalityLimitOf(form: URLSearchParams): number {
  const text = textOf(form, 'limit');
  if (text === '') return CARDINALITY_LIMIT;
  const limit = /^[+-]?\d+$/.test(text) ? Number(text) : 0;
  if (limit < 1) throw new CodedError('bad_data', 'limit must be a positive number');
  if (limit > CARDINALITY_LIMIT_MAX) {
    throw new CodedError('bad_data', `limit must not exceed ${CARDINALITY_LIMIT_MAX}`);
  }
  return limit;
}

export function answerRules(form: URLSearchParams): Answer {
  const type = textOf(form, 'type').toLowerCase();
  if (type !== '' && type !== 'alert' && type !== 'record') {
    throw inParameterError('type', new CodedError('bad_data', `not supported value ${JSON.stringify(type)}`));
  }
  return plain({ groups: [] });
}

/** By path: nothing is alerted or notified from here. */
export const EMPTY_ANSWERS: Readonly<Record<string, unknown>> = {
  alerts: { alerts: [] },
  alertmanagers: { activeAlertmanagers: [], droppedAlertmanagers: [] },
  'targets/metadata': [],
  'status/walreplay': { min: 0, max: 0, current: 0 },
};
