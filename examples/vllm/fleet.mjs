/**
 * Stands in for GPUs: some replicas of vLLM that share a stream of requests, with vLLM's own metric names. Nothing is random,
 * so the same load gives the same metrics: requests come as a rate, each replica works on so many at once, the rest waits.
 * Names: https://docs.vllm.ai/en/latest/usage/metrics.html (`gpu_cache_usage_perc` is the older name of `kv_cache_usage_perc`).
 */

/** Seconds that a request takes, requests that one replica works on at once, and tokens of each. */
const SERVICE_SECONDS = 4;
const SLOTS = 16;
const TOKENS = 200;
const PREFILL_SECONDS = 0.08;
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80];

/** Requests a second that one replica keeps up with. */
export const REPLICA_RATE = SLOTS / SERVICE_SECONDS;

export class Fleet {
  #waiting = 0;
  #running = 0;
  #pods = [];
  #born = 0;
  #model;
  #namespace;

  constructor({ model = 'llama-3-8b', namespace = 'llm', replicas = 1 } = {}) {
    this.#model = model;
    this.#namespace = namespace;
    this.scale(replicas);
  }

  get replicas() {
    return this.#pods.length;
  }

  get waiting() {
    return this.#waiting;
  }

  /** Names of the pods that are no more. */
  scale(replicas) {
    while (this.#pods.length < replicas) {
      this.#pods.push({ name: `llama-${this.#born++}`, served: 0, ttftSum: 0, buckets: BUCKETS.map(() => 0) });
    }
    return this.#pods.splice(replicas).map(({ name }) => name);
  }

  /** Lets `seconds` pass with `rate` requests a second. */
  advance(seconds, rate) {
    const pods = this.#pods.length;
    const arrived = this.#waiting + rate * seconds;
    const served = Math.min(arrived, pods * REPLICA_RATE * seconds);
    this.#waiting = arrived - served;
    this.#running = pods === 0 ? 0 : Math.min(pods * SLOTS, (served / seconds) * SERVICE_SECONDS);
    if (pods === 0 || served === 0) return;
    const ttft = PREFILL_SECONDS + this.#waiting / (pods * REPLICA_RATE);
    for (const pod of this.#pods) {
      pod.served += served / pods;
      pod.ttftSum += (ttft * served) / pods;
      for (let i = 0; i < BUCKETS.length; i++) if (ttft <= BUCKETS[i]) pod.buckets[i] += served / pods;
    }
  }

  /** Series as `{labels, value}`; `__name__` is a label like any other. */
  series() {
    return this.#pods.flatMap((pod) => this.#seriesOf(pod));
  }

  /** The series of a pod by name, with no values: what ended with it. */
  labelsOf(podName) {
    const pod = { name: podName, served: 0, ttftSum: 0, buckets: BUCKETS.map(() => 0) };
    return this.#seriesOf(pod).map(({ labels }) => labels);
  }

  #seriesOf(pod) {
    const pods = Math.max(1, this.#pods.length);
    const common = { model_name: this.#model, namespace: this.#namespace, pod: pod.name };
    const place = { ...common, job: 'vllm', instance: `${pod.name}:8000` };
    const one = (name, value, more = {}) => ({ labels: { __name__: name, ...place, ...more }, value });
    const running = this.#running / pods;
    const ttft = 'vllm:time_to_first_token_seconds';
    const count = Math.floor(pod.served);
    return [
      one('vllm:num_requests_running', Math.round(running)),
      one('vllm:num_requests_waiting', Math.round(this.#waiting / pods)),
      one('vllm:kv_cache_usage_perc', Math.min(1, running / SLOTS)),
      one('vllm:gpu_cache_usage_perc', Math.min(1, running / SLOTS)),
      one('vllm:request_success_total', count, { finished_reason: 'stop' }),
      one('vllm:generation_tokens_total', count * TOKENS),
      one('vllm:prompt_tokens_total', count * TOKENS * 2),
      ...BUCKETS.map((bound, i) => one(`${ttft}_bucket`, Math.floor(pod.buckets[i]), { le: String(bound) })),
      one(`${ttft}_bucket`, count, { le: '+Inf' }),
      one(`${ttft}_count`, count),
      one(`${ttft}_sum`, pod.ttftSum),
    ];
  }

  /** Prometheus' text format, family by family. `labelsOf` makes the labels of a line out of those of its series. */
  expose(labelsOf = (labels) => labels) {
    const families = new Map();
    for (const { labels, value } of this.series()) {
      const { __name__: name, ...rest } = labels;
      const family = name.replace(/_(?:bucket|sum|count)$/, '');
      const list = Object.entries(labelsOf(rest)).map(([label, text]) => `${label}="${text}"`);
      if (!families.has(family)) families.set(family, [`# TYPE ${family} ${typeOf(family)}`]);
      families.get(family).push(`${name}{${list.join(',')}} ${value}`);
    }
    return `${[...families.values()].flat().join('\n')}\n`;
  }

  /** As vLLM's own /metrics: who scrapes adds where it was scraped. Each replica is an engine of one server. */
  exposeServer() {
    const engines = new Map(this.#pods.map(({ name }, i) => [name, String(i)]));
    return this.expose(({ model_name, pod, le, finished_reason }) => ({
      ...(finished_reason === undefined ? {} : { finished_reason }),
      model_name,
      engine: engines.get(pod),
      ...(le === undefined ? {} : { le }),
    }));
  }
}

function typeOf(family) {
  if (family.endsWith('_total')) return 'counter';
  return family.endsWith('_seconds') ? 'histogram' : 'gauge';
}

/** The rate at a moment of a load: `[[seconds, requests a second], …]`, straight lines between; it begins anew at its end. */
export function rateAt(load, seconds) {
  const at = seconds % load.at(-1)[0];
  const next = load.findIndex(([time]) => time > at);
  const [[fromTime, from], [toTime, to]] = [load[next - 1], load[next]];
  return from + ((to - from) * (at - fromTime)) / (toTime - fromTime);
}
