/**
 * A day of an inference service in two minutes, in one terminal: the daemon, a fleet that stands in for vLLM and sends its
 * metrics by remote-write, and an HPA by Kubernetes' own arithmetic that asks as KEDA does. Each change of the replicas is
 * printed with its why, in the words of /api/v1/scale/explain.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { HpaController } from '../../src/scaling/hpa-controller.ts';
import { type Daemon, startDaemon } from '../../test/support/daemon.ts';
import { KedaClient } from '../../test/support/keda-client.ts';
import { encodeWriteRequest, type SeriesToEncode } from '../../test/support/remote-write-encoder.ts';
import { Fleet, type Load, rateAt } from '../vllm/fleet.mjs';

export interface DemoOptions {
  /** Length of the day. */
  readonly seconds: number;
  /** Flags of the daemon; addresses that are not given are free ports. */
  readonly flags: readonly string[];
  readonly print: (line: string) => void;
  /** Ends the day early. */
  readonly signal: AbortSignal;
}

/** Hours of the day and requests a second; one replica keeps up with four. */
const DAY: Load = [
  [0, 2],
  [6, 3],
  [9, 20],
  [12, 13],
  [15, 26],
  [18, 18],
  [20, 2],
  [24, 2],
];
const QUERY = 'sum(vllm:num_requests_running) + sum(vllm:num_requests_waiting)';
const TARGET = 12;
const MAX_REPLICAS = 8;
const TRIGGER = { namespace: 'llm', name: 'llama', metadata: { query: QUERY, targetValue: String(TARGET) } };

export async function runDemo(options: DemoOptions): Promise<void> {
  const daemon = await startDaemon(['--scaling.warm-up=false', ...options.flags]);
  const demo = new Demo(daemon, options);
  try {
    await demo.run();
  } finally {
    demo.close();
    await daemon.stop();
  }
}

class Demo {
  readonly #daemon: Daemon;
  readonly #options: DemoOptions;
  readonly #fleet: Fleet;
  readonly #keda: KedaClient;
  readonly #hpa: HpaController;
  #highest = 1;

  constructor(daemon: Daemon, options: DemoOptions) {
    this.#daemon = daemon;
    this.#options = options;
    this.#fleet = new Fleet();
    this.#keda = new KedaClient(daemon.listen.keda);
    // As the day is shorter, so are the waits of the HPA: 5 minutes before scaling down, 15 s between steps up.
    const stabilizationWindowSeconds = Math.round(options.seconds / 12);
    this.#hpa = new HpaController({
      minReplicas: 1,
      maxReplicas: MAX_REPLICAS,
      behavior: {
        scaleUp: {
          policies: [{ type: 'Pods', value: 4, periodSeconds: Math.max(1, Math.round(options.seconds / 40)) }],
        },
        scaleDown: { stabilizationWindowSeconds },
      },
    });
  }

  async run(): Promise<void> {
    const { seconds, signal } = this.#options;
    const syncEvery = Math.max(1, Math.round(seconds / 40));
    this.#introduce();
    for (let second = 0; second < seconds && !signal.aborted; second++) {
      const hour = (second / seconds) * 24;
      const rate = rateAt(DAY, hour);
      this.#fleet.advance(1, rate);
      await this.#send([]);
      if (second % syncEvery === 0) await this.#sync(hour, rate);
      await pause(1000, undefined, { signal }).catch(() => {});
    }
    this.#conclude();
  }

  close(): void {
    this.#keda.close();
  }

  #introduce(): void {
    const { print } = this.#options;
    const web = `http://${this.#daemon.listen.web}`;
    print(
      `A day of an inference service in ${this.#options.seconds} s; one replica keeps up with 4 requests a second.`,
    );
    print(`Meanwhile: ${web}/  and  curl -sG ${web}/api/v1/query --data-urlencode 'query=${QUERY}'`);
    print('');
    print(' time  requests/s  in flight  replicas  why');
  }

  #conclude(): void {
    const { print } = this.#options;
    print('');
    print(`Replicas went from 1 to ${this.#highest} and are at ${this.#fleet.replicas} now.`);
    print('Next: README.md for a tour with real programs, examples/ for your own scenario.');
  }

  /** Ended pods end their series, as Prometheus does when a target goes away. */
  async #send(ended: readonly string[]): Promise<void> {
    const timestampMs = Date.now();
    const series: SeriesToEncode[] = this.#fleet.series().map(({ labels, value }) => ({
      labels: sorted(labels),
      samples: [{ timestampMs, value }],
    }));
    for (const labels of ended.flatMap((pod) => this.#fleet.labelsOf(pod)))
      series.push({ labels: sorted(labels), samples: [{ timestampMs, value: 'stale' }] });
    const reply = await fetch(`http://${this.#daemon.listen.web}/api/v1/write`, {
      method: 'POST',
      headers: { 'content-encoding': 'snappy', 'content-type': 'application/x-protobuf' },
      body: encodeWriteRequest(series),
    });
    if (!reply.ok) throw new Error(`cannot send: ${reply.status} ${await reply.text()}`);
  }

  /** What happens every 15 s in a cluster: KEDA asks, the HPA computes. */
  async #sync(hour: number, rate: number): Promise<void> {
    const before = this.#fleet.replicas;
    const answer = await this.#keda.poll(TRIGGER);
    const why = await this.#why(before);
    const wanted = answer.kind === 'error' ? null : why.replicas;
    const { replicas, limited } = this.#hpa.reconcile(Date.now(), before, () => wanted);
    if (replicas !== before) await this.#send(this.#fleet.scale(replicas));
    this.#highest = Math.max(this.#highest, replicas);
    const clock = `${String(Math.floor(hour)).padStart(2, '0')}:${String(Math.floor((hour % 1) * 60)).padStart(2, '0')}`;
    const flight = answer.kind === 'error' ? '–' : String(Math.round(answer.milli / 1000));
    const change = replicas === before ? String(before) : `${before} → ${replicas}`;
    const limit = limited === 'ScaleUpLimit' ? ', by 4 at a time' : '';
    const words = answer.kind === 'error' ? answer.message : `${why.says}${limit}`;
    const line = `${clock}  ${rate.toFixed(1).padStart(10)}  ${flight.padStart(9)}  ${change.padStart(8)}`;
    this.#options.print(` ${line}  ${words}`);
  }

  async #why(replicas: number): Promise<{ readonly replicas: number | null; readonly says: string }> {
    const parameters = new URLSearchParams({
      query: QUERY,
      targetValue: String(TARGET),
      replicas: String(replicas),
      maxReplicas: String(MAX_REPLICAS),
    });
    const reply = await fetch(`http://${this.#daemon.listen.web}/api/v1/scale/explain?${parameters}`);
    const { data } = (await reply.json()) as { data: { hpa: { replicas: number | null; says: string } } };
    return data.hpa;
  }
}

/** Label names in order, as remote-write wants them. */
function sorted(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
