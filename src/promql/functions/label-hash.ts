/**
 * Prometheus' hash of a label set: XXH64 over its label names and values, each with its length before it. limit_ratio
 * picks series by it, so that the same series are picked as there.
 * Source: prometheus/prometheus, model/labels/labels_stringlabels.go; https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
import type { Labels } from '../../model/labels.ts';

const MASK = (1n << 64n) - 1n;
const P1 = 11400714785074694791n;
const P2 = 14029467366897019727n;
const P3 = 1609587929392839161n;
const P4 = 9650029242287828579n;
const P5 = 2870177450012600261n;

/** The hash as a share of the whole range, in [0, 1]. */
export function labelHashShare(labels: Labels): number {
  return Number(xxh64(encode(labels))) / Number(MASK);
}

function encode(labels: Labels): Buffer {
  const parts: Buffer[] = [];
  for (const text of labels) {
    const bytes = Buffer.from(text);
    parts.push(lengthOf(bytes.length), bytes);
  }
  return Buffer.concat(parts);
}

/** One byte below 255, else 255 and three bytes, low first. */
function lengthOf(length: number): Buffer {
  if (length < 255) return Buffer.from([length]);
  return Buffer.from([255, length & 0xff, (length >> 8) & 0xff, (length >> 16) & 0xff]);
}

export function xxh64(bytes: Buffer): bigint {
  let at = 0;
  let hash = P5;
  if (bytes.length >= 32) {
    const lanes = [(P1 + P2) & MASK, P2, 0n, -P1 & MASK];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let lane = 0; lane < 4; lane++) lanes[lane] = round(lanes[lane]!, bytes.readBigUInt64LE(at + 8 * lane));
    }
    hash = (rotate(lanes[0]!, 1n) + rotate(lanes[1]!, 7n) + rotate(lanes[2]!, 12n) + rotate(lanes[3]!, 18n)) & MASK;
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  return finish((hash + BigInt(bytes.length)) & MASK, bytes, at);
}

function finish(start: bigint, bytes: Buffer, from: number): bigint {
  let hash = start;
  let at = from;
  for (; at + 8 <= bytes.length; at += 8)
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * P1 + P4) & MASK;
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(bytes.readUInt32LE(at)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < bytes.length; at++) hash = (rotate(hash ^ ((BigInt(bytes[at]!) * P5) & MASK), 11n) * P1) & MASK;
  hash = ((hash ^ (hash >> 33n)) * P2) & MASK;
  hash = ((hash ^ (hash >> 29n)) * P3) & MASK;
  return hash ^ (hash >> 32n);
}

function round(lane: bigint, input: bigint): bigint {
  return (rotate((lane + input * P2) & MASK, 31n) * P1) & MASK;
}

function rotate(value: bigint, bits: bigint): bigint {
  return ((value << bits) | (value >> (64n - bits))) & MASK;
}
