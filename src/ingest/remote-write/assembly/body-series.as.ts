/**
 * Which series a 1.0 body wrote: for who made the body himself and has to know them again, as a scrape does. The body
 * still lies where `ingest` left it; each of its series is looked up as `ingest` did, behind the one before first.
 */
import { REC_NEXT, SB_BODY, SB_IN } from '../../../tsdb/kernel/layout';
import { LABEL_HASH, LABEL_WIRE, labelEntry } from '../../../tsdb/kernel/assembly/labels';
import { identityFind, labelsMatch, labelsParse, recordOf } from '../../../tsdb/kernel/assembly/series';
import { isPlainSample, plainTime } from './sample.as';
import { readLength, readTag, skipField, varint } from './wire.as';

const TAG_TIME_SERIES: u32 = 0x0a;
const TAG_SAMPLE: u8 = 0x12;

/**
 * Writes to SB_IN the ids of the series that have a sample of this time in the first n bytes of the body, in their order; their number.
 * None takes fewer bytes of the body than its id, so there is room.
 */
export function bodySeries(n: u32, time: f64): u32 {
  const body = <usize>load<u32>(SB_BODY);
  const end = body + n;
  const first = <usize>load<u32>(SB_IN);
  let out = first;
  let previous: u32 = 0;
  let p = body;
  while (p < end) {
    p = readTag(p, end);
    const tag = <u32>varint();
    if (tag != TAG_TIME_SERIES) {
      p = skipField(tag, p, end);
      continue;
    }
    p = readLength(p, end);
    const next = p + <usize>varint();
    const id = seriesAt(p, next, previous, time);
    if (id != 0) {
      store<u32>(out, id);
      out += 4;
      previous = id;
    }
    p = next;
  }
  return <u32>(out - first) >>> 2;
}

/** Id of a TimeSeries' series, or 0 if there is none or its first sample is of another time. */
function seriesAt(p: usize, end: usize, previous: u32, time: f64): u32 {
  const guess = load<u32>(recordOf(previous), REC_NEXT);
  let behind = guess == 0 ? 0 : labelsMatch(recordOf(guess), p, end);
  if (behind != 0) return isOfTime(behind, end, time) ? guess : 0;
  const labels = labelsParse(p, end, recordOf(previous));
  if (labels < 0) return 0;
  behind = <usize>load<u32>(labelEntry(labels), LABEL_WIRE);
  return isOfTime(behind, end, time) ? identityFind(load<u32>(labelEntry(labels), LABEL_HASH), p, end, 0) : 0;
}

function isOfTime(p: usize, end: usize, time: f64): bool {
  if (p + 2 > end || load<u8>(p) != TAG_SAMPLE) return false;
  // An exemplar may follow.
  const sampleEnd = p + 2 + load<u8>(p, 1);
  return sampleEnd <= end && isPlainSample(p, sampleEnd) && <f64>plainTime(p, sampleEnd) == time;
}
