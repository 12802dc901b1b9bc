/** Everything that a store holds, as text by series: to say that two stores are equal to the bit. */
import { labelsKey } from '../../src/model/labels.ts';
import { SampleBuffer } from '../../src/model/sample.ts';
import type { HeadReader } from '../../src/tsdb/head.ts';

export function dump(head: HeadReader, fromMs = -Infinity, toMs = Infinity): Map<string, string> {
  const selection = head.select({ matchers: [], fromMs, toMs, scope: null });
  const into = new SampleBuffer(16);
  const all = new Map<string, string>();
  for (let i = 0; i < selection.count; i++) {
    const count = selection.read(i, fromMs, toMs, into);
    const parts: string[] = [];
    for (let k = 0; k < count; k++) parts.push(`${into.timesMs[k]}:${into.halves[2 * k]}:${into.halves[2 * k + 1]}`);
    const histograms = selection.readHistograms(i, fromMs, toMs);
    for (const [k, blob] of histograms.blobs.entries()) {
      parts.push(`${histograms.timesMs[k]}:${Buffer.from(blob).toString('hex')}`);
    }
    const timesMs = Float64Array.from([...into.timesMs.subarray(0, count), ...histograms.timesMs]);
    const starts = new Float64Array(timesMs.length);
    if (selection.readStarts(i, timesMs, timesMs.length, starts)) parts.push(`starts ${starts.join()}`);
    all.set(labelsKey(selection.labels(i)), parts.join(' '));
  }
  selection.close();
  return all;
}

/** The first difference, or null. */
export function differenceOf(wanted: Map<string, string>, got: Map<string, string>): string | null {
  for (const [key, text] of wanted) {
    const other = got.get(key);
    if (other === undefined) return `missing ${key}`;
    if (other !== text) return `${key}\n want ${text}\n got  ${other}`;
  }
  for (const key of got.keys()) if (!wanted.has(key)) return `extra ${key}`;
  return null;
}
