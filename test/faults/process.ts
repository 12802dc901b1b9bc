/** What fault tests ask of a running daemon, and of the machine. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Daemon } from '../support/daemon.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';

export const isLong = process.env.TIDEGAUGE_LONG === '1';

/** Resident memory of a process, in bytes. */
export function residentBytes({ pid }: Pick<Daemon, 'pid'>): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

export function openFiles({ pid }: Pick<Daemon, 'pid'>): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** How many files this process, and each that it starts, may have open. */
export function openFilesMax(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1]);
}

export interface Sent {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Sends one sample of each series; the status, or 0 if there was nobody. */
export async function push(web: string, series: readonly Sent[], timestampMs = Date.now()): Promise<number> {
  const body = encodeWriteRequest(series.map(({ labels, value }) => ({ labels, samples: [{ timestampMs, value }] })));
  try {
    const reply = await fetch(`http://${web}/api/v1/write`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
      body: Buffer.from(body),
    });
    await reply.arrayBuffer();
    return reply.status;
  } catch {
    return 0;
  }
}

/** Value of an own metric, with its labels if it has some; NaN if it is not there. */
export async function ownMetric(web: string, name: string): Promise<number> {
  const text = await (await fetch(`http://${web}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1) ?? Number.NaN,
  );
}

/** The one value that a query has, or null. */
export async function queryValue(web: string, query: string): Promise<number | null> {
  const reply = await fetch(`http://${web}/api/v1/query?query=${encodeURIComponent(query)}`);
  const { data } = (await reply.json()) as { data?: { result: { value: [number, string] }[] } };
  return data?.result.length === 1 ? Number(data.result[0]!.value[1]) : null;
}

/** True until so long has passed; lets others run in between. */
export function until(ms: number): () => Promise<boolean> {
  const endMs = performance.now() + ms;
  return async () => {
    await pause(0);
    return performance.now() < endMs;
  };
}

export const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
