/**
 * Bounds of buckets (reference section 9). Exponential bounds are exact: a table of 2^(i/2^schema - 1) in [0.5, 1),
 * correctly rounded, and a shift of the exponent.
 */
import { CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX } from '../../model/histogram.ts';

/** Bounds of the finest schema; every coarser one has each 2nd, 4th, … of them. */
const FRACTIONS = fractionsOf(SCHEMA_MAX);

/** Upper bound of the positive bucket `index` of an exponential schema. The last finite one is the largest float. */
export function exponentialBound(index: number, schema: number): number {
  if (schema < 0) {
    const exponent = index * 2 ** -schema;
    return exponent === 1024 ? Number.MAX_VALUE : shifted(1, exponent);
  }
  const perDoubling = 2 ** schema;
  const exponent = Math.floor(index / perDoubling) + 1;
  const within = index - (exponent - 1) * perDoubling;
  if (within === 0 && exponent === 1025) return Number.MAX_VALUE;
  return shifted(FRACTIONS[within << (SCHEMA_MAX - schema)]!, exponent);
}

/** Upper bound of the positive bucket `index`; that of `index - 1` is its lower bound. */
export function bucketBound(index: number, schema: number, customValues: Float64Array): number {
  if (schema !== CUSTOM_BUCKETS_SCHEMA) return exponentialBound(index, schema);
  if (index < 0) return -Infinity;
  return index < customValues.length ? customValues[index]! : Infinity;
}

/** value * 2^exponent in two steps, because 2^exponent alone may be no float. */
function shifted(value: number, exponent: number): number {
  const half = Math.trunc(Math.max(-2200, Math.min(2200, exponent)) / 2);
  const rest = Math.max(-2200, Math.min(2200, exponent)) - half;
  return value * 2 ** half * 2 ** rest;
}

/** 2^(i/2^schema)/2 for all i of one doubling, by integer square roots with 200 bits behind the point. */
function fractionsOf(schema: number): Float64Array {
  const bits = 200n;
  const one = 1n << bits;
  let root = 2n * one;
  for (let k = 0; k < schema; k++) root = squareRoot(root * one);
  const fractions = new Float64Array(2 ** schema);
  let value = one;
  for (let i = 0; i < fractions.length; i++) {
    // 53 bits of the value in [1, 2), rounded to the nearest.
    const shift = bits - 52n;
    const rounded = (value + (1n << (shift - 1n))) >> shift;
    fractions[i] = Number(rounded) / 2 ** 53;
    value = (value * root) >> bits;
  }
  return fractions;
}

function squareRoot(value: bigint): bigint {
  let root = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const better = (root + value / root) >> 1n;
    if (better >= root) return root;
    root = better;
  }
}
