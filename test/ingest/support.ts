/** A writer over a fresh head, and what is in the head, for the tests of ingest and of the push surface. */

import { defaultExemplars, Writer, type WriterOptions } from '../../src/ingest/write.ts';
import { type Labels, labelsText } from '../../src/model/labels.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import { SCOPE_ALL } from '../../src/model/scope.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import type { Exemplars } from '../../src/tsdb/exemplars.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';

import { Metadata } from '../../src/tsdb/metadata.ts';

export const NOW_MS = 1_700_000_000_000;

export interface Bench {
  readonly writer: Writer;
  readonly head: KernelHead;
  readonly registry: Registry;
  readonly exemplars: Exemplars;
  readonly metadata: Metadata;
  /** Moves the monotonic clock. */
  advance(ms: number): void;
}

export function bench(
  options: { seriesMax?: number; otlp?: NonNullable<WriterOptions['otlp']>; nowMs?: () => number } = {},
): Bench {
  let monotonicMs = 0;
  const clock = { nowMs: options.nowMs ?? (() => NOW_MS), monotonicMs: () => monotonicMs };
  const advance = (ms: number): void => {
    monotonicMs += ms;
  };
  const head = new KernelHead({
    clock,
    retentionMs: 7_200_000,
    outOfOrderMsMax: LIMITS.outOfOrderMsMax,
    futureMsMax: LIMITS.futureMsMax,
    seriesMax: options.seriesMax ?? 100_000,
  });
  const registry = new Registry();
  const exemplars = defaultExemplars(LIMITS.exemplarsMax);
  const metadata = new Metadata();
  const writer = new Writer({
    head,
    clock,
    registry,
    exemplars,
    metadata,
    ...(options.otlp && { otlp: options.otlp }),
  });
  return { writer, head, registry, exemplars, metadata, advance };
}

/** One line a series, sorted: `up{job="a"} 1@0 stale@15000`, times relative to `NOW_MS`. */
export function dump(head: KernelHead, baseMs = NOW_MS): string[] {
  return stored(head).map(({ labels, samples }) => {
    const texts = samples.map(({ timestampMs, value }) => `${value}@${timestampMs - baseMs}`);
    return `${labelsText(labels)} ${texts.join(' ')}`;
  });
}

export interface Stored {
  readonly labels: Labels;
  readonly samples: readonly { readonly timestampMs: number; readonly value: number | 'stale' }[];
}

export function stored(head: KernelHead): Stored[] {
  const range = { fromMs: -Infinity, toMs: Infinity };
  const selection = head.select({ matchers: [], ...range, scope: SCOPE_ALL });
  const buffer = new SampleBuffer(16);
  const all: Stored[] = [];
  for (let i = 0; i < selection.count; i++) {
    const count = selection.read(i, range.fromMs, range.toMs, buffer);
    const samples = Array.from({ length: count }, (_, j) => ({
      timestampMs: buffer.timesMs[j]!,
      value: buffer.isStale(j) ? ('stale' as const) : buffer.values[j]!,
    }));
    all.push({ labels: selection.labels(i), samples });
  }
  selection.close();
  return all.sort((a, b) => (labelsText(a.labels) < labelsText(b.labels) ? -1 : 1));
}

/** A line of the exposition, or undefined. */
export function metric(registry: Registry, line: string): number | undefined {
  const found = registry
    .expose()
    .split('\n')
    .find((text) => text.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.slice(line.length + 1));
}
