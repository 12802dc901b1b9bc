/**
 * Known points of OTLP, in a memory of their own: from the bytes of a body to rows of (series, time, value).
 *
 * `walk` goes over an ExportMetricsServiceRequest once. It checks the frames that it steps into, and recognises what it
 * saw before by its bytes, which were checked then. Everything else it lists for TypeScript, which checks, translates and
 * stores it, and calls `learn*`: ResourceMetrics that are not written in the plain form (resource, then scopes), metrics
 * that are no gauges or cumulative sums, and points that are new.
 *
 * After point A a sender sends B again: so B is first looked for behind A, and costs one compare.
 * Source of the messages: open-telemetry/opentelemetry-proto, metrics/v1/metrics.proto.
 */
import { tableOpen } from '../../../tsdb/kernel/assembly/table';
import {
  PAGE_BYTES,
  PAGE_ENTRY_BYTES,
  SB_EXTRA_TABLE,
  SB_FRONTIER,
  SB_HEAP_END,
  SB_HEAP_FIRST,
  SB_IDENTITY_TABLE,
  SB_NAME_TABLE,
  SB_PAGE_TABLE,
  SB_PAIR_TABLE,
} from '../../../tsdb/kernel/layout';
import { readLength, readTag, readVarint, skipField, varint } from '../../remote-write/assembly/wire.as';
import {
  ATTRIBUTES_MAX,
  CTX_DELTA,
  CTX_FIRST,
  CTX_KIND,
  CTX_STARTS,
  DELTA_BYTES,
  DELTA_ROW,
  DELTA_SLOT,
  DELTA_START,
  DELTA_TIME,
  FRAME_DATA,
  FRAME_DATA_END,
  FRAME_DATA_START,
  FRAME_DELTA,
  FRAME_FIRST,
  FRAME_KIND,
  FRAME_LAST,
  FRAME_STARTS,
  FRAME_TEMPORALITY,
  ID_BODY,
  ID_BODY_BYTES_MAX,
  ID_DELTA_COUNT,
  ID_DELTAS,
  ID_EXEMPLAR_ROWS,
  ID_FRAME,
  ID_GAUGE_EXEMPLARS,
  ID_METRIC_COUNT,
  ID_METRICS,
  ID_NEW,
  ID_POINT,
  ID_POINT_COUNT,
  ID_POINTS,
  ID_RESERVE,
  ID_RESOURCE_COUNT,
  ID_RESOURCES,
  ID_ROW_COUNT,
  ID_ROWS,
  ID_TEACH,
  ID_URL_COUNTS,
  IDY_CONTEXT,
  IDY_DELTA,
  IDY_GENERATION,
  IDY_NEXT,
  IDY_SERIES,
  MET_AROUND,
  MET_AROUND_END,
  MET_BYTES,
  MET_CONTEXT,
  MET_END,
  MET_PLAIN,
  MET_POINTS,
  MET_POINTS_END,
  MET_SCOPE,
  MET_SCOPE_END,
  MET_START,
  METRICS_MAX,
  NEW_ROWS_BYTES,
  OWN,
  POINT_ATTRIBUTES,
  POINT_ATTRIBUTES_END,
  POINT_BITS,
  POINT_DELTA,
  POINT_EXEMPLARS,
  POINT_FLAGS,
  POINT_HAS_VALUE,
  POINT_IDENTITY,
  POINT_START,
  POINT_TIME,
  POINTS_MAX,
  RES_BYTES,
  RES_CONTEXT,
  RES_EARLIEST,
  RES_END,
  RES_FIELDS,
  RES_LATEST,
  RES_METRICS,
  RES_METRICS_END,
  RES_ODD,
  RES_RESOURCE,
  RES_RESOURCE_END,
  RES_START,
  RESOURCES_MAX,
  ROW_ATTRIBUTE,
  ROW_ATTRIBUTE_BYTES,
  ROW_ATTRIBUTE_END,
  ROW_BITS,
  ROW_BYTES,
  ROW_EXEMPLARS,
  ROW_GENERATION,
  ROW_IDENTITY,
  ROW_METRIC,
  ROW_METRIC_END,
  ROW_SERIES,
  ROW_START,
  ROW_TIME,
  ROWS_MAX,
  TEACH_BYTES,
} from '../identity-layout';
import { attributesMatch, metricContextLearn, metricFind, pointFind, pointLearn, resourceFind, resourceLearn } from './contexts.as';

import { isPlainPoint } from './plain.as';

export { hasRoom } from './contexts.as';
export { beginNew, fillNew, learnNew, leaveNew, teachKey, teachLabels } from './build.as';

export const STALE: i64 = 0x7ff0000000000002;
export const NO_RECORDED_VALUE: u32 = 1;
export const GAUGE: u32 = 5;
const DELTA: u32 = 1;
const CUMULATIVE: u32 = 2;
const SUM: u32 = 7;
const TAG_ATTRIBUTE: u32 = 0x3a;

/** Lays out a fresh (zeroed) memory; false if it is too small. */
export function init(pages: u32, bodyBytesMax: u32): bool {
  store<u32>(ID_BODY_BYTES_MAX, bodyBytesMax);
  let at = <u64>OWN + PAGE_BYTES;
  at = range(SB_PAGE_TABLE, at, <u64>pages * PAGE_ENTRY_BYTES);
  at = range(ID_RESOURCES, at, RESOURCES_MAX * RES_BYTES);
  at = range(ID_METRICS, at, METRICS_MAX * MET_BYTES);
  at = range(ID_POINTS, at, POINTS_MAX * 4);
  at = range(ID_ROWS, at, ROWS_MAX * ROW_BYTES);
  at = range(ID_DELTAS, at, ROWS_MAX * DELTA_BYTES);
  at = range(ID_NEW, at, NEW_ROWS_BYTES);
  at = range(ID_TEACH, at, TEACH_BYTES);
  at = range(ID_BODY, at, <u64>bodyBytesMax + 128);
  const heap = <u32>((at + PAGE_BYTES - 1) >>> 16);
  if (<u64>heap + 16 > <u64>pages) return false;
  store<u32>(SB_HEAP_FIRST, heap);
  store<u32>(SB_FRONTIER, heap);
  store<u32>(SB_HEAP_END, pages - 1);
  // The four tables, and cells of every size.
  store<u32>(ID_RESERVE, min<u32>(64, (pages - heap) >>> 2));
  return (
    tableOpen(SB_IDENTITY_TABLE) && tableOpen(SB_PAIR_TABLE) && tableOpen(SB_NAME_TABLE) && tableOpen(SB_EXTRA_TABLE)
  );
}

function range(field: usize, at: u64, bytes: u64): u64 {
  store<u32>(field, <u32>at);
  return (at + bytes + 127) & ~127;
}

// ---- the walk

/** Walks a body of n bytes that was written to ID_BODY. False if it is malformed, or has more than there is room to list. */
export function walk(n: u32): bool {
  store<u32>(ID_RESOURCE_COUNT, 0);
  store<u32>(ID_METRIC_COUNT, 0);
  store<u32>(ID_POINT_COUNT, 0);
  store<u32>(ID_ROW_COUNT, 0);
  store<u32>(ID_DELTA_COUNT, 0);
  store<u32>(ID_GAUGE_EXEMPLARS, 0);
  store<u32>(ID_EXEMPLAR_ROWS, 0);
  let p = <usize>load<u32>(ID_BODY);
  const end = p + n;
  memory.fill(end, 0, 128);
  while (p < end) {
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    if (tag >>> 3 != 1) {
      p = skipField(tag, p, end);
      if (p == 0) return false;
      continue;
    }
    if (tag != 0x0a) return false;
    const start = p;
    p = readLength(p, end);
    if (p == 0) return false;
    const next = p + <usize>varint();
    if (!walkOne(start, p, next)) return false;
    p = next;
  }
  return true;
}

/** Walks one ResourceMetrics; what was noted of one that turns out odd is taken back. False if there is no room. */
function walkOne(start: usize, p: usize, end: usize): bool {
  const count = load<u32>(ID_RESOURCE_COUNT);
  if (count == RESOURCES_MAX) return false;
  store<u32>(ID_RESOURCE_COUNT, count + 1);
  const entry = <usize>load<u32>(ID_RESOURCES) + count * RES_BYTES;
  const metrics = load<u32>(ID_METRIC_COUNT);
  const points = load<u32>(ID_POINT_COUNT);
  const rows = load<u32>(ID_ROW_COUNT);
  const deltas = load<u32>(ID_DELTA_COUNT);
  const gaugeExemplars = load<u32>(ID_GAUGE_EXEMPLARS);
  const exemplarRows = load<u32>(ID_EXEMPLAR_ROWS);
  memory.fill(entry, 0, RES_BYTES);
  store<u32>(entry, offset(start), RES_START);
  store<u32>(entry, offset(p), RES_FIELDS);
  store<u32>(entry, offset(end), RES_END);
  store<f64>(entry, Infinity, RES_EARLIEST);
  store<f64>(entry, -Infinity, RES_LATEST);
  store<u32>(entry, metrics, RES_METRICS);
  const isPlain = walkResource(entry, p, end);
  if (!isPlain) {
    store<u32>(ID_METRIC_COUNT, metrics);
    store<u32>(ID_POINT_COUNT, points);
    store<u32>(ID_ROW_COUNT, rows);
    store<u32>(ID_DELTA_COUNT, deltas);
    store<u32>(ID_GAUGE_EXEMPLARS, gaugeExemplars);
    store<u32>(ID_EXEMPLAR_ROWS, exemplarRows);
    store<u32>(entry, 1, RES_ODD);
  }
  store<u32>(entry, load<u32>(ID_METRIC_COUNT), RES_METRICS_END);
  return true;
}

// @ts-ignore: decorator
@inline
export function offset(address: usize): u32 {
  return <u32>(address - <usize>load<u32>(ID_BODY));
}

/** The plain form: one resource, then scopes, then a schema URL. False for any other. */
function walkResource(entry: usize, p: usize, end: usize): bool {
  if (p >= end || load<u8>(p) != 0x0a) return false;
  p = readLength(p + 1, end);
  if (p == 0) return false;
  const resourceEnd = p + <usize>varint();
  store<u32>(entry, offset(p), RES_RESOURCE);
  store<u32>(entry, offset(resourceEnd), RES_RESOURCE_END);
  const context = resourceFind(p, resourceEnd);
  store<u32>(entry, <u32>context, RES_CONTEXT);
  p = resourceEnd;
  while (p < end && load<u8>(p) == 0x12) {
    p = readLength(p + 1, end);
    if (p == 0) return false;
    const next = p + <usize>varint();
    if (!walkScope(entry, <u32>context, p, next)) return false;
    p = next;
  }
  return p == end || isLastText(p, end);
}

/** True if [p, end) is one text of field 3, and nothing else. */
function isLastText(p: usize, end: usize): bool {
  if (load<u8>(p) != 0x1a) return false;
  p = readLength(p + 1, end);
  return p != 0 && p + <usize>varint() == end;
}

/** The plain form: a scope or none, then metrics, at least one, then a schema URL. */
function walkScope(entry: usize, parent: u32, start: usize, end: usize): bool {
  let p = start;
  let scope = start;
  let scopeEnd = start;
  if (p < end && load<u8>(p) == 0x0a) {
    scope = readLength(p + 1, end);
    if (scope == 0) return false;
    scopeEnd = scope + <usize>varint();
    p = scopeEnd;
  }
  if (p >= end || load<u8>(p) != 0x12) return false;
  while (p < end && load<u8>(p) == 0x12) {
    p = readLength(p + 1, end);
    if (p == 0) return false;
    const next = p + <usize>varint();
    if (!walkMetric(entry, parent, start, end, scope, scopeEnd, p, next)) return false;
    p = next;
  }
  return p == end || (load<u32>(ID_URL_COUNTS) == 0 && isLastText(p, end));
}

/** Walks a metric; false if there is no room to list more, or its frame is malformed. */
function walkMetric(
  entry: usize, parent: u32, around: usize, aroundEnd: usize, scope: usize, scopeEnd: usize, start: usize, end: usize,
): bool {
  let context: usize = 0;
  const isNumeric = frame(start, end);
  if (isNumeric && parent != 0) context = metricFind(parent, scope, scopeEnd, start, end);
  const points = load<u32>(ID_POINT_COUNT);
  let isPlain = isNumeric;
  if (context != 0) {
    if (!walkPoints(entry, context, start, end)) return false;
    if (load<u32>(ID_POINT_COUNT) == points) return true;
    isPlain = arePlain(points);
  } else if (isNumeric) {
    // More than can be listed are left to others, which need no list.
    isPlain = listPoints() && arePlain(points);
    if (!isPlain) store<u32>(ID_POINT_COUNT, points);
  }
  const count = load<u32>(ID_METRIC_COUNT);
  if (count >= <u32>METRICS_MAX - 1) return false;
  store<u32>(ID_METRIC_COUNT, count + 1);
  const metric = <usize>load<u32>(ID_METRICS) + count * MET_BYTES;
  store<u32>(metric, offset(start), MET_START);
  store<u32>(metric, offset(end), MET_END);
  store<u32>(metric, offset(scope), MET_SCOPE);
  store<u32>(metric, offset(scopeEnd), MET_SCOPE_END);
  store<u32>(metric, offset(around), MET_AROUND);
  store<u32>(metric, offset(aroundEnd), MET_AROUND_END);
  store<u32>(metric, <u32>context, MET_CONTEXT);
  store<u32>(metric, points, MET_POINTS);
  store<u32>(metric, load<u32>(ID_POINT_COUNT), MET_POINTS_END);
  store<u32>(metric, isPlain ? 1 : 0, MET_PLAIN);
  return true;
}

/** Lists all points of the metric of ID_FRAME. */
function listPoints(): bool {
  let p = <usize>load<u32>(ID_FRAME, FRAME_FIRST);
  const last = <usize>load<u32>(ID_FRAME, FRAME_LAST);
  while (p < last) {
    if (!listPoint(p + 1)) return false;
    p = readLength(p + 1, last);
    p += <usize>varint();
  }
  return true;
}

/** True if the points that were listed from the i-th on are all plain. */
function arePlain(i: u32): bool {
  const points = <usize>load<u32>(ID_POINTS);
  const last = load<u32>(ID_POINT_COUNT);
  const limit = <usize>load<u32>(ID_BODY) + load<u32>(ID_BODY_BYTES_MAX);
  for (; i < last; i++) {
    const p = readLength(<usize>load<u32>(ID_BODY) + load<u32>(points + (i << 2)), limit);
    if (!isPlainPoint(p, p + <usize>varint())) return false;
  }
  return true;
}

/** Finds the parts of a metric. True if it is a gauge or a sum in the plain form: one list of points. */
function frame(start: usize, end: usize): bool {
  let p = start;
  let kind: u32 = 0;
  store<u32>(ID_FRAME, 0, FRAME_KIND);
  while (p < end) {
    const at = p;
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    const field = tag >>> 3;
    if (field == GAUGE || field == SUM) {
      if (kind != 0 || (tag & 7) != 2) return false;
      kind = field;
      p = readLength(p, end);
      if (p == 0) return false;
      const next = p + <usize>varint();
      store<u32>(ID_FRAME, <u32>at, FRAME_DATA);
      if (!frameData(p, next)) return false;
      p = next;
    } else {
      // 9, 10, 11: other kinds. Name, description, unit and metadata are texts or messages.
      if (field >= 9 && field <= 11) return false;
      if (field <= 3 && (tag & 7) != 2) return false;
      p = skipField(tag, p, end);
      if (p == 0) return false;
    }
  }
  store<u32>(ID_FRAME, kind, FRAME_KIND);
  if (kind == GAUGE) store<u32>(ID_FRAME, 0, FRAME_STARTS);
  const temporality = load<u32>(ID_FRAME, FRAME_TEMPORALITY);
  store<u32>(ID_FRAME, kind == SUM && temporality == DELTA ? 1 : 0, FRAME_DELTA);
  return kind == GAUGE || (kind == SUM && (temporality == CUMULATIVE || temporality == DELTA));
}

/** Points without a gap; what stands before and behind them belongs to the metric. */
function frameData(start: usize, end: usize): bool {
  let p = start;
  let first: usize = 0;
  let last: usize = 0;
  store<u32>(ID_FRAME, 0, FRAME_TEMPORALITY);
  store<u32>(ID_FRAME, 0, FRAME_STARTS);
  while (p < end) {
    const at = p;
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    if (tag == 0x0a) {
      if (first == 0) first = at;
      else if (last != at) return false;
      p = readLength(p, end);
      if (p == 0) return false;
      p += <usize>varint();
      last = p;
    } else if (tag == 0x10 || tag == 0x18) {
      p = readVarint(p, end);
      if (p == 0) return false;
      if (tag == 0x10) store<u32>(ID_FRAME, <u32>varint(), FRAME_TEMPORALITY);
      else store<u32>(ID_FRAME, varint() != 0 ? 1 : 0, FRAME_STARTS);
    } else return false;
  }
  if (first == 0) return false;
  store<u32>(ID_FRAME, <u32>start, FRAME_DATA_START);
  store<u32>(ID_FRAME, <u32>end, FRAME_DATA_END);
  store<u32>(ID_FRAME, <u32>first, FRAME_FIRST);
  store<u32>(ID_FRAME, <u32>last, FRAME_LAST);
  return true;
}

/** Makes rows of the known points of a known metric, and lists the others. The frame was found to be whole. */
function walkPoints(entry: usize, context: usize, start: usize, end: usize): bool {
  let p = <usize>load<u32>(ID_FRAME, FRAME_FIRST);
  const last = <usize>load<u32>(ID_FRAME, FRAME_LAST);
  const hasStarts = load<u32>(context, CTX_STARTS) != 0;
  const kind = load<u32>(context, CTX_KIND);
  const isDelta = load<u32>(context, CTX_DELTA) != 0;
  let previous: usize = 0;
  let earliest = load<f64>(entry, RES_EARLIEST);
  let latest = load<f64>(entry, RES_LATEST);
  while (p < last) {
    const at = p + 1;
    p = readLength(at, last);
    const next = p + <usize>varint();
    const predicted = <usize>(previous == 0 ? load<u32>(context, CTX_FIRST) : load<u32>(previous, IDY_NEXT));
    let identity = readPoint(context, predicted, p, next) ? <usize>load<u32>(ID_POINT, POINT_IDENTITY) : 0;
    if (isDelta && identity != 0 && !isPlainDelta(identity)) identity = 0;
    p = next;
    if (identity == 0) {
      if (!listPoint(at)) return false;
      continue;
    }
    if (identity != predicted) {
      if (previous == 0) store<u32>(context, <u32>identity, CTX_FIRST);
      else store<u32>(previous, <u32>identity, IDY_NEXT);
    }
    previous = identity;
    const time = <f64>(load<u64>(ID_POINT, POINT_TIME) / 1000000);
    if (isDelta) addDelta(identity);
    if (!addRow(identity, kind, at, time, hasStarts, start, end)) return false;
    earliest = min<f64>(earliest, time);
    latest = max<f64>(latest, time);
  }
  store<f64>(entry, earliest, RES_EARLIEST);
  store<f64>(entry, latest, RES_LATEST);
  return true;
}

/** True if the point of ID_POINT says nothing but what is to be added to a sum that is known. */
function isPlainDelta(identity: usize): bool {
  return (
    load<u32>(identity, IDY_DELTA) != 0 && load<u32>(ID_POINT, POINT_EXEMPLARS) == 0 &&
    (load<u32>(ID_POINT, POINT_FLAGS) & NO_RECORDED_VALUE) == 0
  );
}

/** Lists the point of ID_POINT, whose row comes next. */
function addDelta(identity: usize): void {
  const count = load<u32>(ID_DELTA_COUNT);
  // There are as many places as for rows.
  if (count >= <u32>ROWS_MAX - 1) return;
  const delta = <usize>load<u32>(ID_DELTAS) + count * DELTA_BYTES;
  store<u32>(delta, load<u32>(ID_ROW_COUNT), DELTA_ROW);
  store<u32>(delta, load<u32>(identity, IDY_DELTA), DELTA_SLOT);
  store<u64>(delta, load<u64>(ID_POINT, POINT_START), DELTA_START);
  store<u64>(delta, load<u64>(ID_POINT, POINT_TIME), DELTA_TIME);
  store<u32>(ID_DELTA_COUNT, count + 1);
}

function listPoint(at: usize): bool {
  const count = load<u32>(ID_POINT_COUNT);
  if (count >= <u32>POINTS_MAX - 1) return false;
  store<u32>(<usize>load<u32>(ID_POINTS) + (count << 2), offset(at));
  store<u32>(ID_POINT_COUNT, count + 1);
  return true;
}

// @ts-ignore: decorator
@inline
function addRow(identity: usize, kind: u32, at: usize, time: f64, hasStarts: bool, start: usize, end: usize): bool {
  const count = load<u32>(ID_ROW_COUNT);
  if (count >= <u32>ROWS_MAX - 1) return false;
  store<u32>(ID_ROW_COUNT, count + 1);
  const row = <usize>load<u32>(ID_ROWS) + count * ROW_BYTES;
  const isStale = (load<u32>(ID_POINT, POINT_FLAGS) & NO_RECORDED_VALUE) != 0;
  let since: f64 = 0;
  if (hasStarts) {
    since = <f64>(load<u64>(ID_POINT, POINT_START) / 1000000);
    if (since >= time) since = 0;
  }
  store<u32>(row, load<u32>(identity, IDY_SERIES), ROW_SERIES);
  store<u32>(row, load<u32>(identity, IDY_GENERATION), ROW_GENERATION);
  store<f64>(row, time, ROW_TIME);
  store<i64>(row, isStale ? STALE : load<i64>(ID_POINT, POINT_BITS), ROW_BITS);
  store<f64>(row, since, ROW_START);
  store<u32>(row, <u32>identity, ROW_IDENTITY);
  store<u32>(row, offset(start), ROW_METRIC);
  store<u32>(row, offset(end), ROW_METRIC_END);
  store<u32>(row, 0, ROW_EXEMPLARS);
  if (load<u32>(ID_POINT, POINT_EXEMPLARS) != 0) noteExemplars(row, kind, at);
  return true;
}

/** Those of a sum are for others to read. */
function noteExemplars(row: usize, kind: u32, at: usize): void {
  if (kind == GAUGE) {
    store<u32>(ID_GAUGE_EXEMPLARS, load<u32>(ID_GAUGE_EXEMPLARS) + load<u32>(ID_POINT, POINT_EXEMPLARS));
    return;
  }
  store<u32>(row, offset(at), ROW_EXEMPLARS);
  store<u32>(ID_EXEMPLAR_ROWS, load<u32>(ID_EXEMPLAR_ROWS) + 1);
}

/** Reads a point; true if it is a known one with a time and a value, whose attributes stand together. */
// @ts-ignore: decorator
@inline
function readPoint(context: usize, predicted: usize, p: usize, end: usize): bool {
  let identity: usize = 0;
  let attributes: usize = 0;
  let attributesEnd: usize = 0;
  let time: u64 = 0;
  let start: u64 = 0;
  let bits: i64 = 0;
  let hasValue = false;
  let flags: u32 = 0;
  let exemplars: u32 = 0;
  while (p < end) {
    const tag = <u32>load<u8>(p);
    if (tag == TAG_ATTRIBUTE) {
      if (attributes == 0) {
        attributes = p;
        const behind = isCandidate(predicted, context) ? attributesMatch(predicted, p, end) : 0;
        if (behind > p) {
          identity = predicted;
          p = behind;
          attributesEnd = behind;
          continue;
        }
      } else if (attributesEnd != p) return false;
      // One attribute more than the predicted point has, or another one.
      identity = 0;
      p = readLength(p + 1, end);
      if (p == 0) return false;
      p += <usize>varint();
      attributesEnd = p;
      continue;
    }
    if (tag == 0x11 || tag == 0x19 || tag == 0x21 || tag == 0x31) {
      if (end - p < 9) return false;
      const value = load<u64>(p, 1);
      p += 9;
      if (tag == 0x19) time = value;
      else if (tag == 0x11) start = value;
      else {
        bits = tag == 0x21 ? <i64>value : reinterpret<i64>(<f64>(<i64>value));
        hasValue = true;
      }
    } else if (tag == 0x2a) {
      p = readLength(p + 1, end);
      if (p == 0) return false;
      p += <usize>varint();
      exemplars++;
    } else if (tag == 0x40) {
      p = readVarint(p + 1, end);
      if (p == 0) return false;
      flags = <u32>varint();
    } else return false;
  }
  if (time == 0 || !(hasValue || (flags & NO_RECORDED_VALUE) != 0)) return false;
  if (identity == 0) identity = pointFind(<u32>context, attributes, attributesEnd);
  if (identity == 0 || load<u32>(identity, IDY_SERIES) == 0) return false;
  store<u32>(ID_POINT, <u32>identity, POINT_IDENTITY);
  store<u64>(ID_POINT, time, POINT_TIME);
  store<u64>(ID_POINT, start, POINT_START);
  store<i64>(ID_POINT, bits, POINT_BITS);
  store<u32>(ID_POINT, flags, POINT_FLAGS);
  store<u32>(ID_POINT, exemplars, POINT_EXEMPLARS);
  return true;
}

// @ts-ignore: decorator
@inline
function isCandidate(predicted: usize, context: usize): bool {
  return predicted != 0 && load<u32>(predicted, IDY_CONTEXT) == <u32>context;
}

// ---- learning; all positions are offsets in the body that was walked last

export function learnResource(start: u32, end: u32): u32 {
  const body = <usize>load<u32>(ID_BODY);
  return <u32>resourceLearn(body + start, body + end);
}

/** The context of a metric; 0 if it is not of a form that can be known, or there is no room. */
export function learnMetric(parent: u32, scope: u32, scopeEnd: u32, start: u32, end: u32): u32 {
  const body = <usize>load<u32>(ID_BODY);
  if (parent == 0 || !frame(body + start, body + end)) return 0;
  return <u32>metricContextLearn(parent, body + scope, body + scopeEnd, body + start, body + end);
}

/** The attributes of the point that is being learnt, as a new row has them. */
const LIST: usize = OWN + 4096;

/**
 * The point whose length stands at this position is a sample of that series; false if that cannot be known. `delta` is what
 * TypeScript will know of its sum, unless it knows of it by a number already; where that is is left in ID_POINT.
 */
export function learnPoint(context: u32, position: u32, series: u32, generation: u32, delta: u32): bool {
  const limit = <usize>load<u32>(ID_BODY) + load<u32>(ID_BODY_BYTES_MAX);
  let p = readLength(<usize>load<u32>(ID_BODY) + position, limit);
  if (p == 0) return false;
  const end = p + <usize>varint();
  let attributes: usize = 0;
  let attributesEnd: usize = 0;
  let n: u32 = 0;
  while (p < end) {
    const at = p;
    p = readTag(p, end);
    if (p == 0) return false;
    const tag = <u32>varint();
    p = skipField(tag, p, end);
    if (p == 0) return false;
    if (tag != TAG_ATTRIBUTE) continue;
    if (attributes == 0) attributes = at;
    else if (attributesEnd != at) return false;
    attributesEnd = p;
    if (n == ATTRIBUTES_MAX) return false;
    store<u32>(LIST + n * ROW_ATTRIBUTE_BYTES, 0, ROW_ATTRIBUTE);
    store<u32>(LIST + n * ROW_ATTRIBUTE_BYTES, <u32>p, ROW_ATTRIBUTE_END);
    n++;
  }
  const identity = pointLearn(context, attributes, LIST, n, series, generation);
  if (identity == 0) return false;
  if (load<u32>(identity, IDY_DELTA) == 0) store<u32>(identity, delta, IDY_DELTA);
  store<u32>(ID_POINT, load<u32>(identity, IDY_DELTA), POINT_DELTA);
  return true;
}

/** The series of an identity is gone. */
export function unlearn(identity: u32): void {
  store<u32>(identity, 0, IDY_SERIES);
}
