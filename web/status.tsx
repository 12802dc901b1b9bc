/** Status: what comes in and what is refused, memory against its limit, and how the daemon is set up. */
import { useEffect, useState } from 'preact/hooks';
import { ask } from './api.ts';
import { formatBytes, formatCount, formatValue } from './format.ts';
import { type OwnMetrics, useOwnMetrics } from './live.ts';
import { Busy, Empty, Failure, useLoaded } from './parts.tsx';

type Texts = Readonly<Record<string, string>>;

interface Reject {
  readonly protocol: string;
  readonly what: 'samples' | 'requests';
  readonly reason: string;
  readonly count: number;
  readonly example: string;
  readonly time: string | null;
}

interface Sender {
  readonly protocol: string;
  readonly peer: string;
  /** Of its token or certificate; '' without. */
  readonly name: string;
  readonly userAgent: string;
  readonly requests: number;
  readonly samplesStored: number;
  readonly requestsPerSecond: number;
  readonly samplesPerSecond: number;
  readonly refused: readonly Pick<Reject, 'what' | 'reason' | 'count'>[];
  readonly lastTime: string;
}

interface Ingest {
  readonly senders: readonly Sender[];
  readonly sendersForgotten: { readonly senders: number; readonly samplesStored: number };
  readonly rejects: readonly Reject[];
}

/** How often senders and what was refused are asked for again. */
const INGEST_MS = 5000;

export function Status() {
  const own = useOwnMetrics();
  const { data, error } = useLoaded('', async (signal) => {
    const [build, runtime, flags, config] = await Promise.all([
      ask<Texts>('status/buildinfo', {}, signal),
      ask<Texts>('status/runtimeinfo', {}, signal),
      ask<Texts>('status/flags', {}, signal),
      ask<{ readonly yaml: string }>('status/config', {}, signal),
    ]);
    return { build: build.data, runtime: runtime.data, flags: flags.data, yaml: config.data.yaml };
  });
  if (error !== '') return <Failure error={error} />;
  if (data === null) return <Busy what="Reading the status" />;
  return (
    <>
      <h1>Status</h1>
      {own === null ? <Busy what="Waiting for the daemon's metrics" /> : <Flow own={own} flags={data.flags} />}
      <Table
        title="Daemon"
        rows={[
          ['version', data.build.tidegaugeVersion ?? ''],
          ['query API of Prometheus', data.build.version ?? ''],
          ...Object.entries(data.runtime).filter(([, value]) => value !== ''),
        ]}
      />
      <Table title="Flags" rows={Object.entries(data.flags)} />
      <section>
        <h2>Configuration in effect</h2>
        <p class="soft">Secrets come from files; only the files' names stand here.</p>
        <pre>{data.yaml}</pre>
      </section>
    </>
  );
}

function Flow({ own, flags }: { readonly own: OwnMetrics; readonly flags: Texts }) {
  const { ingest, error } = useIngest();
  const rss = own.values.get('process_resident_memory_bytes') ?? 0;
  const limit = bytesOf(flags['storage.memory-limit'] ?? '');
  return (
    <>
      <section class="cards">
        <Card name="Samples stored" value={`${formatValue(sum(own.perSecond, 'tidegauge_ingest_samples_total'))} /s`} />
        <Card
          name="Samples refused"
          value={`${formatValue(sum(own.perSecond, 'tidegauge_ingest_samples_refused_total'))} /s`}
        />
        <Card name="Series" value={formatCount(own.values.get('tidegauge_head_series') ?? 0)} />
        <Card name="Queries" value={`${formatValue(sum(own.perSecond, 'tidegauge_promql_queries_total'))} /s`} />
        <Card
          name="Answers to autoscalers"
          value={`${formatValue(sum(own.perSecond, 'tidegauge_readings_total'))} /s`}
        />
        <div>
          Resident memory <b>{formatBytes(rss)}</b>
          {limit === null ? null : (
            <>
              <progress max={limit} value={rss} aria-label="Memory against the limit" />
              <span class="soft">of {formatBytes(limit)}</span>
            </>
          )}
        </div>
      </section>
      <section>
        <h2>Senders</h2>
        {error === '' ? null : <Failure error={error} />}
        {ingest === null ? null : ingest.senders.length === 0 ? (
          <Empty command={`remote_write:\n  - url: ${location.origin}/api/v1/write`}>
            Nobody has sent anything yet. Add this to a Prometheus, or point an OpenTelemetry exporter at port 4317:
          </Empty>
        ) : (
          <Senders {...ingest} />
        )}
      </section>
      <ApiServices values={own.values} />
      {ingest === null ? null : <Rejects rejects={ingest.rejects} perSecond={own.perSecond} />}
    </>
  );
}

/** Whose the metrics APIs of the cluster are; nothing outside of one. */
function ApiServices({ values }: Pick<OwnMetrics, 'values'>) {
  const rows = [...values.keys()].flatMap((key) => {
    const [, name, state, owner] = API_SERVICE.exec(key) ?? [];
    return name === undefined ? [] : [{ name, state, owner }];
  });
  if (rows.length === 0) return null;
  return (
    <section>
      <h2>Metrics APIs of the cluster</h2>
      <table data-apiservices>
        <tbody>
          {rows.map(({ name, state, owner }) => (
            <tr key={name}>
              <td class="mono">{name}</td>
              <td>{state === 'ours' ? 'leads here' : state === 'foreign' ? `belongs to ${owner}` : STATES[state!]}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const API_SERVICE = /^tidegauge_kubernetes_apiservice\{apiservice="(.*)",state="(.*)",owner="(.*)"\}$/;
const STATES: Texts = { missing: 'is not there', unknown: 'may not be read' };

function Senders({ senders, sendersForgotten }: Ingest) {
  return (
    <>
      <div class="scroll">
        <table data-senders>
          <thead>
            <tr>
              <th>From</th>
              <th>By</th>
              <th>Protocol</th>
              <th class="n">samples /s</th>
              <th class="n">requests /s</th>
              <th class="n">Samples</th>
              <th>Refused</th>
              <th>Last</th>
            </tr>
          </thead>
          <tbody>
            {senders.map((sender) => (
              <tr key={[sender.protocol, sender.peer, sender.name, sender.userAgent].join('\n')}>
                <td>
                  {sender.name === '' ? null : <b>{sender.name} </b>}
                  {sender.peer}
                </td>
                <td class="mono">{sender.userAgent === '' ? 'not said' : sender.userAgent}</td>
                <td>{sender.protocol}</td>
                <td class="n">{formatValue(sender.samplesPerSecond)}</td>
                <td class="n">{formatValue(sender.requestsPerSecond)}</td>
                <td class="n">{formatCount(sender.samplesStored)}</td>
                <td>{refusedText(sender)}</td>
                <td class="soft">{new Date(sender.lastTime).toLocaleTimeString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {sendersForgotten.senders === 0 ? null : (
        <p class="soft">
          {formatCount(sendersForgotten.senders)} more made room, with {formatCount(sendersForgotten.samplesStored)}{' '}
          samples.
        </p>
      )}
    </>
  );
}

function refusedText({ refused }: Sender): string {
  return refused.length === 0
    ? 'none'
    : refused.map(({ what, reason, count }) => `${reason}: ${formatCount(count)} ${what}`).join(', ');
}

function Rejects({ rejects, perSecond }: Pick<OwnMetrics, 'perSecond'> & Pick<Ingest, 'rejects'>) {
  return (
    <section>
      <h2>Refused, by reason</h2>
      {rejects.length === 0 ? (
        <p class="soft">None.</p>
      ) : (
        <div class="scroll">
          <table data-rejects>
            <thead>
              <tr>
                <th>Protocol</th>
                <th>Reason</th>
                <th class="n">Refused</th>
                <th class="n">per second</th>
                <th>Example</th>
              </tr>
            </thead>
            <tbody>
              {rejects.map((reject) => (
                <tr key={rateKey(reject)}>
                  <td>{reject.protocol}</td>
                  <td class="mono">{reject.reason}</td>
                  <td class="n">
                    {formatCount(reject.count)} {reject.what}
                  </td>
                  <td class="n">{formatValue(perSecond.get(rateKey(reject)) ?? 0)}</td>
                  <td>
                    <span class="mono">{reject.example === '' ? 'not known' : reject.example}</span>
                    {reject.time === null ? null : (
                      <span class="soft"> {new Date(reject.time).toLocaleTimeString()}</span>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** Asked for again and again; the old lists stay until the new ones are there. */
function useIngest(): { readonly ingest: Ingest | null; readonly error: string } {
  const [ingest, setIngest] = useState<Ingest | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    const controller = new AbortController();
    const load = (): void => {
      ask<Ingest>('status/ingest', {}, controller.signal).then(
        ({ data }) => {
          setIngest(data);
          setError('');
        },
        (fault: Error) => {
          if (!controller.signal.aborted) setError(fault.message);
        },
      );
    };
    load();
    const timer = setInterval(load, INGEST_MS);
    return () => {
      clearInterval(timer);
      controller.abort();
    };
  }, []);
  return { ingest, error };
}

/** The line of the daemon's own metrics that counts them. */
function rateKey({ protocol, what, reason }: Reject): string {
  return what === 'samples'
    ? `tidegauge_ingest_samples_refused_total{protocol="${protocol}",reason="${reason}"}`
    : `tidegauge_ingest_requests_total{protocol="${protocol}",outcome="${reason}"}`;
}

function Card({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      {name} <b>{value}</b>
    </div>
  );
}

function Table({ title, rows }: { readonly title: string; readonly rows: readonly (readonly [string, unknown])[] }) {
  return (
    <section>
      <h2>{title}</h2>
      <table>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <td>{name}</td>
              <td class="mono">{String(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function sum(numbers: ReadonlyMap<string, number>, name: string): number {
  let total = 0;
  for (const [key, value] of numbers) if (key === name || key.startsWith(`${name}{`)) total += value;
  return total;
}

function bytesOf(text: string): number | null {
  const match = /^([\d.]+)(B|KiB|MiB|GiB)?$/.exec(text);
  return match === null ? null : Number(match[1]) * 1024 ** ['B', 'KiB', 'MiB', 'GiB'].indexOf(match[2] ?? 'B');
}
