/**
 * What is known by its bytes: resources and metrics (contexts), attributes (each kept once), and points (a context and
 * attributes, which are a series). Written only by `learn*`, for bytes that were checked and stored.
 */
import { hashBytes, avalanche } from '../../../tsdb/kernel/assembly/hash';
import { allocate, bytesEqual, pagesFree } from '../../../tsdb/kernel/assembly/memory';
import { tableInsert, tableRoom } from '../../../tsdb/kernel/assembly/table';
import {
  KIND_BLOB,
  KIND_PAIR,
  KIND_SET,
  SB_EXTRA_TABLE,
  SB_IDENTITY_TABLE,
  SB_NAME_TABLE,
  SB_PAIR_TABLE,
} from '../../../tsdb/kernel/layout';
import {
  ATT_BYTES,
  ATT_HASH,
  ATT_LENGTH,
  ATTRIBUTES_MAX,
  CTX_BYTES,
  CTX_BYTES_MAX,
  CTX_DELTA,
  CTX_HASH,
  CTX_KIND,
  CTX_PARENT,
  CTX_PARTS,
  CTX_STARTS,
  FRAME_DATA,
  FRAME_DATA_END,
  FRAME_DATA_START,
  FRAME_DELTA,
  FRAME_FIRST,
  FRAME_KIND,
  FRAME_LAST,
  FRAME_STARTS,
  ID_FRAME,
  ID_KNOWN,
  ID_RESERVE,
  ID_STAMP,
  IDY_ATTRIBUTES,
  IDY_BYTES,
  IDY_CONTEXT,
  IDY_GENERATION,
  IDY_HASH,
  IDY_LENGTH,
  IDY_SERIES,
  OWN,
  ROW_ATTRIBUTE,
  ROW_ATTRIBUTE_BYTES,
  ROW_ATTRIBUTE_END,
} from '../identity-layout';
import { firstOf, nextOf } from './probe.as';

/** The attributes of the point that was looked at or learnt last. */
const PREDICTED: usize = OWN + 28672;
const MIX: u64 = 0xd6e8feb86659fd93;
/** Bytes of an attribute that can be kept. */
const ATTRIBUTE_BYTES_MAX: u32 = 8000;

/** True while something can be learnt. */
export function hasRoom(): bool {
  return (
    pagesFree() > load<u32>(ID_RESERVE) &&
    tableRoom(SB_IDENTITY_TABLE) && tableRoom(SB_PAIR_TABLE) && tableRoom(SB_NAME_TABLE) && tableRoom(SB_EXTRA_TABLE)
  );
}

// ---- contexts

/** The context of a resource, or 0. */
export function resourceFind(start: usize, end: usize): usize {
  // Where a metric has its kind, a resource has the stamp of its sender.
  return contextFind(0, load<u32>(ID_STAMP), start, end, end, end, end, end, end, end, end, end);
}

/** The context of the metric of ID_FRAME under a resource and a scope, or 0. */
export function metricFind(parent: u32, scope: usize, scopeEnd: usize, start: usize, end: usize): usize {
  const kind = load<u32>(ID_FRAME, FRAME_KIND);
  return contextFind(
    parent, kind, scope, scopeEnd,
    start, load<u32>(ID_FRAME, FRAME_DATA),
    load<u32>(ID_FRAME, FRAME_DATA_START), load<u32>(ID_FRAME, FRAME_FIRST),
    load<u32>(ID_FRAME, FRAME_LAST), load<u32>(ID_FRAME, FRAME_DATA_END),
    load<u32>(ID_FRAME, FRAME_DATA_END), end,
  );
}

function contextHash(
  parent: u32, kind: u32, a: usize, aEnd: usize, b: usize, bEnd: usize, c: usize, cEnd: usize, d: usize, dEnd: usize, e: usize, eEnd: usize,
): u32 {
  let hash = (<u64>parent + 1) * MIX + kind;
  hash = (rotl<u64>(hash, 25) ^ hashBytes(a, <u32>(aEnd - a))) * MIX;
  hash = (rotl<u64>(hash, 25) ^ hashBytes(b, <u32>(bEnd - b))) * MIX;
  hash = (rotl<u64>(hash, 25) ^ hashBytes(c, <u32>(cEnd - c))) * MIX;
  hash = (rotl<u64>(hash, 25) ^ hashBytes(d, <u32>(dEnd - d))) * MIX;
  hash = (rotl<u64>(hash, 25) ^ hashBytes(e, <u32>(eEnd - e))) * MIX;
  return <u32>avalanche(hash);
}

function contextFind(
  parent: u32, kind: u32, a: usize, aEnd: usize, b: usize, bEnd: usize, c: usize, cEnd: usize, d: usize, dEnd: usize, e: usize, eEnd: usize,
): usize {
  const hash = contextHash(parent, kind, a, aEnd, b, bEnd, c, cEnd, d, dEnd, e, eEnd);
  for (let context = firstOf(SB_NAME_TABLE, hash); context != 0; context = nextOf(SB_NAME_TABLE, hash)) {
    if (
      load<u32>(context, CTX_PARENT) == parent && load<u32>(context, CTX_KIND) == kind &&
      partsEqual(context, a, aEnd, b, bEnd, c, cEnd, d, dEnd, e, eEnd)
    ) return context;
  }
  return 0;
}

function partsEqual(
  context: usize, a: usize, aEnd: usize, b: usize, bEnd: usize, c: usize, cEnd: usize, d: usize, dEnd: usize, e: usize, eEnd: usize,
): bool {
  let at = context + CTX_BYTES;
  if (load<u32>(context, CTX_PARTS) != <u32>(aEnd - a) || !bytesEqual(at, a, <u32>(aEnd - a))) return false;
  at += aEnd - a;
  if (load<u32>(context, CTX_PARTS + 4) != <u32>(bEnd - b) || !bytesEqual(at, b, <u32>(bEnd - b))) return false;
  at += bEnd - b;
  if (load<u32>(context, CTX_PARTS + 8) != <u32>(cEnd - c) || !bytesEqual(at, c, <u32>(cEnd - c))) return false;
  at += cEnd - c;
  if (load<u32>(context, CTX_PARTS + 12) != <u32>(dEnd - d) || !bytesEqual(at, d, <u32>(dEnd - d))) return false;
  at += dEnd - d;
  return load<u32>(context, CTX_PARTS + 16) == <u32>(eEnd - e) && bytesEqual(at, e, <u32>(eEnd - e));
}

/** Learns the context of a resource; 0 if there is no room. */
export function resourceLearn(start: usize, end: usize): usize {
  const known = resourceFind(start, end);
  return known != 0 ? known : contextLearn(0, load<u32>(ID_STAMP), start, end, end, end, end, end, end, end, end, end);
}

/** Learns the context of the metric of ID_FRAME; 0 if there is no room. */
export function metricContextLearn(parent: u32, scope: usize, scopeEnd: usize, start: usize, end: usize): usize {
  const known = metricFind(parent, scope, scopeEnd, start, end);
  if (known != 0) return known;
  const context = contextLearn(
    parent, load<u32>(ID_FRAME, FRAME_KIND), scope, scopeEnd,
    start, load<u32>(ID_FRAME, FRAME_DATA),
    load<u32>(ID_FRAME, FRAME_DATA_START), load<u32>(ID_FRAME, FRAME_FIRST),
    load<u32>(ID_FRAME, FRAME_LAST), load<u32>(ID_FRAME, FRAME_DATA_END),
    load<u32>(ID_FRAME, FRAME_DATA_END), end,
  );
  if (context == 0) return 0;
  store<u32>(context, load<u32>(ID_FRAME, FRAME_STARTS), CTX_STARTS);
  store<u32>(context, load<u32>(ID_FRAME, FRAME_DELTA), CTX_DELTA);
  return context;
}

function contextLearn(
  parent: u32, kind: u32, a: usize, aEnd: usize, b: usize, bEnd: usize, c: usize, cEnd: usize, d: usize, dEnd: usize, e: usize, eEnd: usize,
): usize {
  const bytes = (aEnd - a) + (bEnd - b) + (cEnd - c) + (dEnd - d) + (eEnd - e);
  if (bytes > <usize>(CTX_BYTES_MAX - CTX_BYTES) || !hasRoom()) return 0;
  const context = allocate(KIND_BLOB, CTX_BYTES + <u32>bytes);
  if (context == 0) return 0;
  const hash = contextHash(parent, kind, a, aEnd, b, bEnd, c, cEnd, d, dEnd, e, eEnd);
  memory.fill(context, 0, CTX_BYTES);
  store<u32>(context, hash, CTX_HASH);
  store<u32>(context, parent, CTX_PARENT);
  store<u32>(context, kind, CTX_KIND);
  let at = context + CTX_BYTES;
  at = part(context, 0, at, a, aEnd);
  at = part(context, 1, at, b, bEnd);
  at = part(context, 2, at, c, cEnd);
  at = part(context, 3, at, d, dEnd);
  part(context, 4, at, e, eEnd);
  tableInsert(SB_NAME_TABLE, hash, <u32>context);
  return context;
}

function part(context: usize, i: u32, at: usize, start: usize, end: usize): usize {
  store<u32>(context + (i << 2), <u32>(end - start), CTX_PARTS);
  memory.copy(at, start, end - start);
  return at + (end - start);
}

// ---- points

/** The identity of a point of the context with these attributes, or 0. One whose series is gone is found, too. */
export function pointFind(context: u32, start: usize, end: usize): usize {
  return pointFindBy(pointHash(context, start, end), context, start, end);
}

function pointFindBy(hash: u32, context: u32, start: usize, end: usize): usize {
  for (let identity = firstOf(SB_IDENTITY_TABLE, hash); identity != 0; identity = nextOf(SB_IDENTITY_TABLE, hash)) {
    if (load<u32>(identity, IDY_CONTEXT) == context && attributesMatch(identity, start, end) == end) return identity;
  }
  return 0;
}

// @ts-ignore: decorator
@inline
function pointHash(context: u32, start: usize, end: usize): u32 {
  return <u32>avalanche(hashBytes(start, <u32>(end - start)) + <u64>context * MIX);
}

/** Address behind the attributes at p if they begin with those of the identity, else 0. */
// @ts-ignore: decorator
@inline
export function attributesMatch(identity: usize, p: usize, end: usize): usize {
  if (p + load<u32>(identity, IDY_LENGTH) > end) return 0;
  let entry = identity + IDY_BYTES;
  const last = entry + (load<u32>(identity, IDY_ATTRIBUTES) << 2);
  while (entry < last) {
    const attribute = <usize>load<u32>(entry);
    const length = load<u32>(attribute, ATT_LENGTH);
    if (!bytesEqual(attribute + ATT_BYTES, p, length)) return 0;
    p += length;
    entry += 4;
  }
  return p;
}

/**
 * Learns a point of n attributes, which are listed as in a new row: what is not known of them is written there. 0 if there is
 * no room.
 */
export function pointLearn(context: u32, start: usize, list: usize, n: u32, series: u32, generation: u32): usize {
  const end = n == 0 ? start : <usize>load<u32>(list + (n - 1) * ROW_ATTRIBUTE_BYTES, ROW_ATTRIBUTE_END);
  const hash = pointHash(context, start, end);
  let identity = pointFindBy(hash, context, start, end);
  if (identity == 0) {
    if (n > <u32>ATTRIBUTES_MAX || !hasRoom() || !attributesLearn(start, list, n)) return 0;
    identity = allocate(KIND_SET, IDY_BYTES + (n << 2));
    if (identity == 0) return 0;
    memory.fill(identity, 0, IDY_BYTES);
    for (let i: u32 = 0; i < n; i++) {
      store<u32>(identity + IDY_BYTES + (i << 2), load<u32>(list + i * ROW_ATTRIBUTE_BYTES, ROW_ATTRIBUTE));
    }
    store<u32>(identity, hash, IDY_HASH);
    store<u32>(identity, context, IDY_CONTEXT);
    store<u32>(identity, <u32>(end - start), IDY_LENGTH);
    store<u32>(identity, n, IDY_ATTRIBUTES);
    tableInsert(SB_IDENTITY_TABLE, hash, <u32>identity);
    store<u32>(ID_KNOWN, load<u32>(ID_KNOWN) + 1);
  }
  store<u32>(identity, series, IDY_SERIES);
  store<u32>(identity, generation, IDY_GENERATION);
  return identity;
}

// ---- attributes

/** Makes the attributes of a list known that are not; false if there is no room, which happens once, at the end of it. */
function attributesLearn(start: usize, list: usize, n: u32): bool {
  let p = start;
  for (let i: u32 = 0; i < n; i++) {
    const entry = list + i * ROW_ATTRIBUTE_BYTES;
    const next = <usize>load<u32>(entry, ROW_ATTRIBUTE_END);
    if (load<u32>(entry, ROW_ATTRIBUTE) == 0) {
      const attribute = attributeIntern(i, p, <u32>(next - p));
      if (attribute == 0) return false;
      store<u32>(entry, <u32>attribute, ROW_ATTRIBUTE);
    }
    p = next;
  }
  return true;
}

/** The attribute of these bytes, or 0. The point that was looked at before mostly has the same at this place, the i-th. */
// @ts-ignore: decorator
@inline
export function attributeFind(i: u32, p: usize, length: u32): usize {
  const last = <usize>load<u32>(PREDICTED + (i << 2));
  if (last != 0 && isAttribute(last, p, length)) return last;
  const found = attributeFindBy(<u32>hashBytes(p, length), p, length);
  if (found != 0) store<u32>(PREDICTED + (i << 2), <u32>found);
  return found;
}

// @ts-ignore: decorator
@inline
function isAttribute(attribute: usize, p: usize, length: u32): bool {
  return load<u32>(attribute, ATT_LENGTH) == length && bytesEqual(attribute + ATT_BYTES, p, length);
}

function attributeFindBy(hash: u32, p: usize, length: u32): usize {
  for (let found = firstOf(SB_PAIR_TABLE, hash); found != 0; found = nextOf(SB_PAIR_TABLE, hash)) {
    if (isAttribute(found, p, length)) return found;
  }
  return 0;
}

function attributeIntern(i: u32, p: usize, length: u32): usize {
  const last = <usize>load<u32>(PREDICTED + (i << 2));
  if (last != 0 && isAttribute(last, p, length)) return last;
  const hash = <u32>hashBytes(p, length);
  let attribute = attributeFindBy(hash, p, length);
  if (attribute == 0) {
    if (length > ATTRIBUTE_BYTES_MAX || !tableRoom(SB_PAIR_TABLE)) return 0;
    attribute = allocate(KIND_PAIR, ATT_BYTES + length);
    if (attribute == 0) return 0;
    memory.fill(attribute, 0, ATT_BYTES);
    store<u32>(attribute, hash, ATT_HASH);
    store<u32>(attribute, length, ATT_LENGTH);
    memory.copy(attribute + ATT_BYTES, p, length);
    tableInsert(SB_PAIR_TABLE, hash, <u32>attribute);
  }
  store<u32>(PREDICTED + (i << 2), <u32>attribute);
  return attribute;
}
