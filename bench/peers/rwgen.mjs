#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises';
/**
 * Remote-write 1.0 load generator. Encodes scrape rounds ahead of time, chunk
 * by chunk, and replays them over keep-alive HTTP; only the replay is timed.
 *
 *   node rwgen.mjs --url http://127.0.0.1:9090 [--write /api/v1/write] [--series 100k]
 *     [--rounds 20] [--concurrency 4] [--per-request 2000] [--interval 15] [--churn 0.01]
 *     [--pace 15] [--pid N] [--seed 1] [--start UNIX_MS] [--variant base]
 */
import { parseArgs } from 'node:util';
import { Dataset } from './lib/dataset.mjs';
import { Client, WRITE_HEADERS } from './lib/http.mjs';
import { cpuTotal, memory } from './lib/proc.mjs';
import { parseCount, quantile } from './lib/stats.mjs';

export class LoadGenerator {
  /** @param {{series: number, perRequest?: number, seed?: number, intervalMs?: number, variant?: string, lanes?: number}} options */
  constructor({ series, perRequest = 2000, seed = 1, intervalMs = 15_000, variant = 'base', lanes = 4 }) {
    this.intervalMs = intervalMs;
    this.dataset = new Dataset({ series, seriesPerRequest: perRequest, seed, intervalMs, variant, lanes });
  }

  connect(url, { write = '/api/v1/write', concurrency = 4 } = {}) {
    this.client?.close();
    this.client = new Client(url, concurrency);
    this.write = write;
    this.concurrency = concurrency;
  }

  /**
   * Sends `rounds` scrape rounds, the first one at `startTs`.
   * @param {object} o
   * @param {number} o.rounds
   * @param {number} o.startTs       ms
   * @param {number} [o.churn]       share of the pods renamed before each round but the first
   * @param {number[]} [o.only]      request indexes, to send part of the series
   * @param {number} [o.paceMs]      spread each round's requests over this long; as fast as possible when 0
   * @param {number} [o.chunkBytes]  encoded bytes held at a time (paced runs encode everything first)
   * @param {() => void} [o.onStart] called when the first request is about to go out
   */
  async run({ rounds, startTs, churn = 0, only, paceMs = 0, chunkBytes = 512e6, onStart }) {
    const total = {
      samples: 0,
      newSeries: 0,
      requests: 0,
      bytes: 0,
      rawBytes: 0,
      seconds: 0,
      errors: 0,
      firstError: '',
      clientCpu: 0,
    };
    const latencies = [];
    let round = 0;
    let started = false;
    while (round < rounds) {
      const chunk = [];
      for (let held = 0; round < rounds && (paceMs || held < chunkBytes); round++) {
        if (round > 0 && churn > 0) total.newSeries += this.dataset.churn(churn);
        const encoded = this.dataset.encodeRound(startTs + round * this.intervalMs, only);
        chunk.push(encoded.bodies);
        held += encoded.bytes;
        total.samples += encoded.samples;
        total.bytes += encoded.bytes;
        total.rawBytes += encoded.rawBytes;
      }
      if (!started) onStart?.();
      started = true;
      const cpu = process.cpuUsage();
      const t0 = performance.now();
      await this.#replay(chunk, paceMs, total, latencies);
      total.seconds += (performance.now() - t0) / 1000;
      const used = process.cpuUsage(cpu);
      total.clientCpu += (used.user + used.system) / 1e6;
      if (total.errors > 20) break;
    }
    total.ackP50 = quantile(latencies, 0.5);
    total.ackP99 = quantile(latencies, 0.99);
    return total;
  }

  /** Connection k sends requests k, k+C, ... of each round in turn, so a series' samples stay in order. */
  async #replay(chunk, paceMs, total, latencies) {
    const t0 = performance.now();
    const lane = async (k) => {
      for (let r = 0; r < chunk.length; r++) {
        const bodies = chunk[r];
        for (let i = k; i < bodies.length; i += this.concurrency) {
          if (paceMs) {
            const wait = t0 + r * paceMs + (i / bodies.length) * paceMs - performance.now();
            if (wait > 0) await sleep(wait);
          }
          const sent = performance.now();
          const error = await this.#post(bodies[i]);
          latencies.push(performance.now() - sent);
          total.requests++;
          if (error) {
            total.errors++;
            total.firstError ||= error;
            if (total.errors > 20) return;
          }
        }
      }
    };
    await Promise.all(Array.from({ length: this.concurrency }, (_, k) => lane(k)));
  }

  async #post(body) {
    try {
      const { status, body: answer } = await this.client.send('POST', this.write, { headers: WRITE_HEADERS, body });
      return status >= 200 && status < 300 ? '' : `${status} ${answer.toString().slice(0, 200)}`;
    } catch (error) {
      return String(error);
    }
  }

  close() {
    this.client?.close();
  }
}

async function main() {
  const { values: o } = parseArgs({
    options: {
      url: { type: 'string' },
      write: { type: 'string', default: '/api/v1/write' },
      series: { type: 'string', default: '100k' },
      rounds: { type: 'string', default: '20' },
      concurrency: { type: 'string', default: '4' },
      'per-request': { type: 'string', default: '2000' },
      interval: { type: 'string', default: '15' },
      churn: { type: 'string', default: '0' },
      pace: { type: 'string', default: '0' },
      pid: { type: 'string' },
      seed: { type: 'string', default: '1' },
      start: { type: 'string' },
      variant: { type: 'string', default: 'base' },
    },
  });
  const rounds = Number(o.rounds);
  const intervalMs = Number(o.interval) * 1000;
  const generator = new LoadGenerator({
    series: parseCount(o.series),
    perRequest: Number(o['per-request']),
    seed: Number(o.seed),
    intervalMs,
    variant: o.variant,
    lanes: Number(o.concurrency),
  });
  generator.connect(o.url, { write: o.write, concurrency: Number(o.concurrency) });
  const pid = o.pid && Number(o.pid);
  const before = pid ? cpuTotal(pid) : 0;
  const result = await generator.run({
    rounds,
    churn: Number(o.churn),
    paceMs: Number(o.pace) * 1000,
    startTs: o.start ? Number(o.start) : Date.now() - rounds * intervalMs,
  });
  generator.close();
  if (pid) {
    result.serverCpu = cpuTotal(pid) - before;
    result.serverCpuPerMillion = (result.serverCpu / result.samples) * 1e6;
    result.serverMemory = memory(pid);
  }
  result.samplesPerSecond = Math.round(result.samples / result.seconds);
  console.log(JSON.stringify(result, null, 2));
}

if (import.meta.filename === process.argv[1] || process.argv[1]?.endsWith('/rwgen.mjs')) await main();
