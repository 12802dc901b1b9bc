/**
 * Synthetic Kubernetes series, kept as ready-made remote-write protobuf
 * messages whose changing parts (value, timestamp, pod suffix) have fixed
 * width. A scrape round then costs a patch in place plus one snappy call per
 * request, so a million series can be re-encoded in seconds and the encoding
 * stays outside of whatever is being timed.
 *
 * Layout, in order, as far as `series` allows:
 *   api-1k, api-10k, api-100k   counters  http_requests_total                   25 series a pod
 *   hist-100k                   buckets   http_request_duration_seconds_bucket  50 series a pod
 *   svc-0000, svc-0001, ...     1000 series each, 100 a pod: 40 counters,
 *                               30 buckets, 20 gauges, 10 constants
 * Every series has 10 labels, about 250 bytes of names and values.
 *
 * Variants, for what a receiver might have tuned itself to:
 *   base        series in the same order each round, integral values
 *   shuffled    a new random order each round
 *   unique      an eleventh label whose value no other series has
 *   fractional  values with full mantissas (the integral ones divided by 7)
 *   decimal     values with two decimals
 */
import snappy from 'snappy';

export const VARIANTS = ['base', 'shuffled', 'unique', 'fractional', 'decimal'];
/** What the integral state of a series is divided by to give the value that is sent. */
const DIVISORS = { fractional: 7, decimal: 100 };

/** Without this the addon hands out buffers as big as the worst case, 25 times what they hold. */
const COMPRESS = { copyOutputData: true };

const COUNTER = 0;
const BUCKET = 1;
const GAUGE = 2;
const CONSTANT = 3;

const FIXED_APPS = [
  { job: 'api-1k', series: 1_000, kind: COUNTER },
  { job: 'api-10k', series: 10_000, kind: COUNTER },
  { job: 'api-100k', series: 100_000, kind: COUNTER },
  { job: 'hist-100k', series: 100_000, kind: BUCKET },
];

const LE = ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '+Inf'];
const HANDLERS = [
  '/api/v1/orders/{order_id}',
  '/api/v1/orders/search',
  '/api/v1/customers/{id}/cart',
  '/api/v1/payments/authorize',
  '/api/v1/catalog/items/{id}',
  '/internal/healthz',
  '/api/v1/shipments/{id}/track',
  '/api/v1/login',
];
const METHOD_STATUS = [
  ['GET', '200'],
  ['POST', '201'],
  ['GET', '404'],
  ['PUT', '500'],
  ['GET', '503'],
];
const TEAMS = ['payments', 'checkout', 'catalog', 'logistics', 'identity'];
/** Bytes of a series behind its labels: the sample's two headers, the value, the timestamp. */
const SAMPLE_BYTES = 18;
const SUFFIX_SPACE = 36 ** 5;
const SUFFIX_STRIDE = 7919; // coprime with 36^5, so distinct pods get distinct suffixes

const pad = (n, width) => String(n).padStart(width, '0');

/** Bytes of one protobuf `Label` field inside a TimeSeries. */
function labelField(name, value) {
  const n = Buffer.from(name);
  const v = Buffer.from(value);
  const inner = n.length + v.length + 4;
  if (inner > 127) throw new RangeError(`label too long for a one-byte length: ${name}=${value}`);
  return Buffer.concat([Buffer.from([0x0a, inner, 0x0a, n.length]), n, Buffer.from([0x12, v.length]), v]);
}

/** Varint of a millisecond timestamp: always 6 bytes between 2004 and 2109. */
function putTimestamp(buf, at, ts) {
  const low = ts % 0x10000000;
  const high = (ts - low) / 0x10000000;
  buf[at] = (low & 0x7f) | 0x80;
  buf[at + 1] = ((low >>> 7) & 0x7f) | 0x80;
  buf[at + 2] = ((low >>> 14) & 0x7f) | 0x80;
  buf[at + 3] = ((low >>> 21) & 0x7f) | 0x80;
  buf[at + 4] = (high & 0x7f) | 0x80;
  buf[at + 5] = high >>> 7;
}

class Random {
  constructor(seed) {
    this.state = seed >>> 0 || 1;
  }
  next() {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state;
  }
}

export class Dataset {
  /**
   * @param {object} options
   * @param {number} options.series             active series
   * @param {number} [options.seriesPerRequest] Prometheus' max_samples_per_send is 2000
   * @param {number} [options.seed]             another seed gives other pod names: all series new
   * @param {number} [options.intervalMs]       scrape interval, spreads the pods' scrape offsets
   * @param {string} [options.variant]          one of VARIANTS
   * @param {number} [options.lanes]            shuffling moves a series only between the requests i, i + lanes, ...,
   *                                            which one connection sends, so that its samples stay in order
   */
  constructor({ series, seriesPerRequest = 2000, seed = 1, intervalMs = 15_000, variant = 'base', lanes = 1 }) {
    if (!VARIANTS.includes(variant)) throw new RangeError(`variant: got ${variant}, want one of ${VARIANTS}`);
    this.series = series;
    this.seriesPerRequest = seriesPerRequest;
    this.seed = seed;
    this.intervalMs = intervalMs;
    this.variant = variant;
    this.lanes = lanes;
    this.divisor = DIVISORS[variant] ?? 1;
    this.kind = new Uint8Array(series);
    this.value = new Float64Array(series);
    this.pod = new Uint32Array(series);
    /** Where the series begins in its request's buffer, where its value stands, and which request that is. */
    this.startAt = new Uint32Array(series);
    this.valueAt = new Uint32Array(series);
    this.requestOf = new Uint32Array(series);
    this.suffixAt = new Uint32Array(series);
    /** @type {{buf: Buffer, first: number, count: number}[]} */
    this.requests = [];
    this.pods = 0;
    this.labelBytes = 0;
    this.#build();
    this.generation = new Uint32Array(this.pods);
    this.order = Uint32Array.from({ length: series }, (_, i) => i);
    this.reset();
  }

  /** Back to the state before the first round. */
  reset() {
    this.random = new Random(this.seed * 2654435761);
    this.shuffling = new Random(this.seed * 2246822519);
    this.churnCursor = 0;
    this.generation.fill(this.seed);
    for (let i = 0; i < this.series; i++) {
      const r = this.random.next();
      this.value[i] = this.kind[i] === GAUGE ? 4096 * (r % 500_000) : this.kind[i] === CONSTANT ? 1 + (r % 8) : 0;
    }
    this.#writeSuffixes(() => true);
  }

  /** Sum of the values sent last of the series [first, first + count): what a sum() should answer. */
  expectedSum(first = 0, count = this.series) {
    let sum = 0;
    for (let i = first; i < first + count; i++) sum += this.value[i] / this.divisor;
    return sum;
  }

  /** The values that the last round sent, by series. */
  values() {
    return this.value.map((value) => value / this.divisor);
  }

  /** Timestamp of a series' sample in the round of `ts`. */
  timestampOf(i, ts) {
    return ts + ((this.pod[i] * 7919) % this.intervalMs);
  }

  /** Names and values of a series by turns, sorted by name, as they stand in its message. */
  labelsOf(i) {
    const { buf } = this.requests[this.requestOf[i]];
    const labels = [];
    for (let at = this.startAt[i] + 3; at < this.valueAt[i] - 3; ) {
      const nameEnd = at + 4 + buf[at + 3];
      const end = at + 2 + buf[at + 1];
      labels.push(buf.latin1Slice(at + 4, nameEnd), buf.latin1Slice(nameEnd + 2, end));
      at = end;
    }
    return labels;
  }

  /** Gives a share of the pods (hence of the series) new names. Returns how many series are new. */
  churn(fraction) {
    const n = Math.min(this.pods, Math.round(this.pods * fraction));
    if (n === 0) return 0;
    const changed = new Uint8Array(this.pods);
    for (let k = 0; k < n; k++) {
      const pod = (this.churnCursor + k) % this.pods;
      this.generation[pod] += 1;
      changed[pod] = 1;
    }
    this.churnCursor = (this.churnCursor + n) % this.pods;
    for (let i = 0; i < this.series; i++) {
      // A counter of a new pod begins at zero.
      if (changed[this.pod[i]] === 1 && this.kind[i] < GAUGE) this.value[i] = 0;
    }
    return this.#writeSuffixes((i) => changed[this.pod[i]] === 1);
  }

  /**
   * Advances values by one scrape and encodes it.
   * @param {number} ts          scrape time of the round, in ms (pods lie up to one interval after it)
   * @param {number[]} [only]    indexes of the requests to encode; all when left out
   * @returns {{bodies: Buffer[], samples: number, bytes: number, rawBytes: number}}
   */
  encodeRound(ts, only) {
    const requests = only ? only.map((i) => this.requests[i]) : this.requests;
    for (const request of requests) this.#advance(request, ts);
    const shuffled = this.variant === 'shuffled' && only === undefined;
    if (shuffled) this.#shuffle();
    const bodies = [];
    let samples = 0;
    let bytes = 0;
    let rawBytes = 0;
    for (const request of requests) {
      const raw = shuffled ? this.#gather(request) : request.buf;
      const body = snappy.compressSync(raw, COMPRESS);
      bodies.push(body);
      samples += request.count;
      bytes += body.length;
      rawBytes += raw.length;
    }
    return { bodies, samples, bytes, rawBytes };
  }

  /** Puts the series of each lane into a new order; `order[k]` is the series that stands in the k-th place. */
  #shuffle() {
    const { order, lanes, requests, shuffling } = this;
    for (let lane = 0; lane < lanes; lane++) {
      const places = [];
      for (let r = lane; r < requests.length; r += lanes) {
        for (let k = 0; k < requests[r].count; k++) places.push(requests[r].first + k);
      }
      for (let k = places.length - 1; k > 0; k--) {
        const other = shuffling.next() % (k + 1);
        const a = places[k];
        const b = places[other];
        const held = order[a];
        order[a] = order[b];
        order[b] = held;
      }
    }
  }

  /** A request with the series that now stand in its places. */
  #gather({ first, count }) {
    let used = 0;
    for (let place = first; place < first + count; place++) {
      const i = this.order[place];
      const end = this.valueAt[i] + SAMPLE_BYTES - 3;
      used += this.requests[this.requestOf[i]].buf.copy(this.scratch, used, this.startAt[i], end);
    }
    return this.scratch.subarray(0, used);
  }

  #advance({ buf, first, count }, ts) {
    const random = this.random;
    const double = new Float64Array(1);
    const bytes = new Uint8Array(double.buffer);
    let le = 0;
    let cumulative = 0;
    for (let i = first; i < first + count; i++) {
      switch (this.kind[i]) {
        case COUNTER: {
          const r = random.next();
          if (r % 10 >= 3) this.value[i] += (r >>> 8) % 50; // three in ten are quiet
          break;
        }
        case BUCKET:
          if (le === 0) cumulative = 0;
          cumulative += random.next() % 4;
          this.value[i] += cumulative;
          le = (le + 1) % LE.length;
          break;
        case GAUGE:
          this.value[i] = Math.max(0, this.value[i] + 4096 * ((random.next() % 513) - 256));
          break;
        default:
      }
      double[0] = this.value[i] / this.divisor;
      const at = this.valueAt[i];
      buf.set(bytes, at);
      putTimestamp(buf, at + 9, this.timestampOf(i, ts));
    }
  }

  #writeSuffixes(wanted) {
    let written = 0;
    for (const { buf, first, count } of this.requests) {
      for (let i = first; i < first + count; i++) {
        if (!wanted(i)) continue;
        const pod = this.pod[i];
        let n = ((pod + this.generation[pod] * this.pods) * SUFFIX_STRIDE) % SUFFIX_SPACE;
        for (let k = 4; k >= 0; k--) {
          const digit = n % 36;
          buf[this.suffixAt[i] + k] = digit < 10 ? 48 + digit : 87 + digit;
          n = (n - digit) / 36;
        }
        written++;
      }
    }
    return written;
  }

  #build() {
    const scratch = Buffer.alloc(this.seriesPerRequest * 1024);
    this.scratch = scratch;
    let used = 0;
    let first = 0;
    let next = 0; // index of the next series
    const flush = () => {
      if (next === first) return;
      this.requests.push({ buf: Buffer.from(scratch.subarray(0, used)), first, count: next - first });
      used = 0;
      first = next;
    };
    const cache = new Map();
    const field = (name, value) => {
      const key = `${name}\0${value}`;
      if (!cache.has(key)) cache.set(key, labelField(name, value));
      return cache.get(key);
    };
    /** @param {Buffer[]} labels sorted by name; the pod label is labels[podIndex] */
    const add = (kind, pod, labels, podIndex) => {
      this.startAt[next] = used;
      this.requestOf[next] = this.requests.length;
      let size = SAMPLE_BYTES;
      for (const label of labels) size += label.length;
      if (size < 128 || size > 16383) throw new RangeError('a series must take a two-byte length');
      scratch[used++] = 0x0a;
      scratch[used++] = (size & 0x7f) | 0x80;
      scratch[used++] = size >>> 7;
      for (let k = 0; k < labels.length; k++) {
        scratch.set(labels[k], used);
        used += labels[k].length;
        if (k === podIndex) this.suffixAt[next] = used - 5;
      }
      scratch[used++] = 0x12; // samples
      scratch[used++] = 16;
      scratch[used++] = 0x09; // value, fixed64
      this.valueAt[next] = used;
      used += 8;
      scratch[used++] = 0x10; // timestamp, varint
      used += 6;
      this.labelBytes += size - SAMPLE_BYTES - 6 * labels.length;
      this.kind[next] = kind;
      this.pod[next] = pod;
      next++;
      if (next - first === this.seriesPerRequest) flush();
    };
    const addPod = (app, namespace, kinds) => {
      const pod = this.pods++;
      const ip = `10.${(pod >>> 16) & 255}.${(pod >>> 8) & 255}.${pod & 255}`;
      const host = (pod * 31) % 997;
      const common = {
        container: field('container', 'server'),
        instance: labelField('instance', `${ip}:8080`),
        job: field('job', app),
        namespace: field('namespace', namespace),
        node: field('node', `ip-10-64-${host >>> 8}-${host & 255}.eu-central-1.compute.internal`),
        pod: labelField('pod', `${app}-7d9f8b6c5d-00000`),
      };
      for (const [kind, n] of kinds) {
        for (let s = 0; s < n && next < this.series; s++) {
          const [labels, podIndex] = seriesLabels(kind, s, common, field);
          if (this.variant === 'unique') labels.push(uniqueField(this.seed, next));
          add(kind, pod, labels, podIndex);
        }
      }
    };

    for (const { job, series, kind } of FIXED_APPS) {
      if (next + series > this.series) break;
      const perPod = kind === COUNTER ? 25 : 50;
      for (let p = 0; p < series / perPod; p++) {
        addPod(job, `team-${TEAMS[p % 5]}-prod-${pad(p % 20, 2)}`, [[kind, perPod]]);
      }
      flush(); // an app's series never share a request with the next one's
    }
    for (let app = 0; next < this.series; app++) {
      const namespace = `team-${TEAMS[Math.floor(app / 10) % 5]}-prod-${pad(20 + Math.floor(app / 10), 3)}`;
      for (let p = 0; p < 10 && next < this.series; p++) {
        addPod(`svc-${pad(app, 4)}`, namespace, [
          [COUNTER, 40],
          [BUCKET, 30],
          [GAUGE, 20],
          [CONSTANT, 10],
        ]);
      }
    }
    flush();
  }
}

/** A label that sorts behind all others; multiplying by an odd number keeps the values apart. */
function uniqueField(seed, i) {
  const scattered = Math.imul(i, 2654435761) >>> 0;
  return labelField('uuid', `${seed.toString(16).padStart(4, '0')}${scattered.toString(16).padStart(8, '0')}`);
}

/** The ten labels of the s-th series of a kind within a pod, sorted by name, and the pod label's place. */
function seriesLabels(kind, s, c, field) {
  switch (kind) {
    case COUNTER: {
      const [method, status] = METHOD_STATUS[s % 5];
      const handler = HANDLERS[Math.floor(s / 5) % HANDLERS.length];
      return [
        [
          field('__name__', 'http_requests_total'),
          c.container,
          field('handler', handler),
          c.instance,
          c.job,
          field('method', method),
          c.namespace,
          c.node,
          c.pod,
          field('status', status),
        ],
        8,
      ];
    }
    case BUCKET: {
      const handler = HANDLERS[Math.floor(s / LE.length) % HANDLERS.length];
      return [
        [
          field('__name__', 'http_request_duration_seconds_bucket'),
          c.container,
          field('handler', handler),
          c.instance,
          c.job,
          field('le', LE[s % LE.length]),
          field('method', 'GET'),
          c.namespace,
          c.node,
          c.pod,
        ],
        9,
      ];
    }
    case GAUGE:
      return [
        [
          field('__name__', 'container_memory_working_set_bytes'),
          field('container', `sidecar-${s}`),
          field('image', 'registry.example.internal/platform/server:v1.42.7'),
          c.instance,
          c.job,
          field('metrics_path', '/metrics/cadvisor'),
          c.namespace,
          c.node,
          c.pod,
          field('service', 'kubelet'),
        ],
        8,
      ];
    default:
      return [
        [
          field('__name__', 'kube_pod_container_resource_limits'),
          field('container', `sidecar-${s}`),
          c.instance,
          c.job,
          c.namespace,
          c.node,
          c.pod,
          field('resource', 'memory'),
          field('service', 'kube-state-metrics.monitoring.svc'),
          field('unit', 'byte'),
        ],
        6,
      ];
  }
}
